// Package press does what people press below messages where they can't reach logscan:
// it asks the services that tell of it if they are asked.
//
// What it promises:
//   - A press is acted upon once: what it does commits with its token, which is good
//     for once, and only then the service is told that it was heard. Killed between,
//     it hears of the press again, and answers what has become of the incident.
//   - Only presses in a chat count to which an enabled trigger sends.
//   - Each bot is asked by itself, so that none delays another. How asking fails is
//     logged once, until it succeeds again.
package press

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"logscan/internal/action"
	"logscan/internal/channel"
	"logscan/internal/channel/all"
	"logscan/internal/channel/telegram"
	"logscan/internal/egress"
	"logscan/internal/incident"
	"logscan/internal/store"
	"logscan/internal/trigger"
)

const (
	firstWait   = time.Second // after a failure, then twice as long each time
	longestWait = time.Minute // up to this
)

// Store is the part of the store that presses change.
type Store interface {
	ChangeIncidentOnce(ctx context.Context, id int64, token string, until time.Time, change func(*incident.Incident) (incident.Notice, error)) (incident.Incident, error)
	Incident(ctx context.Context, id int64) (incident.Incident, error)
}

// Config is what an asker needs; Store, Key and Logger are required.
type Config struct {
	Store   Store
	Key     []byte // of the buttons' tokens, see package action
	Targets egress.Targets
	Logger  *slog.Logger
	Now     func() time.Time
	After   func(time.Duration) <-chan time.Time
}

// Asker asks what was pressed. It is safe concurrently.
type Asker struct {
	Config
	client *egress.Client
	wake   chan struct{} // holds a token when bots may have changed

	mu   sync.Mutex // guards bots
	bots map[string]*bot
}

// bot is one that is asked, for all triggers that send by it.
type bot struct {
	*telegram.Bot
	chats map[string]bool
	name  string // of a trigger, for the log
}

// New returns an asker that asks nobody yet.
func New(c Config) *Asker {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.After == nil {
		c.After = time.After
	}
	guard, _ := egress.NewGuard(c.Targets, nil) // the worker says what is wrong with the targets
	client := egress.NewClient(guard, telegram.PollTimeout, c.Now)
	client.Keep = telegram.PollKeep
	return &Asker{Config: c, client: client, wake: make(chan struct{}, 1)}
}

// Set has the bots of these triggers asked from now on, and no others.
func (a *Asker) Set(triggers []trigger.Trigger) {
	bots := map[string]*bot{}
	for _, t := range triggers {
		if !t.Enabled || t.Mode == trigger.ModeEvents {
			continue
		}
		kind, c, err := all.Find(t.ActionURL)
		if err != nil || kind.Scheme != telegram.Kind.Scheme {
			continue
		}
		c.Secret, c.Client = t.ActionSecret, a.client
		b, err := telegram.NewBot(c)
		if err != nil { // it can't send either
			continue
		}
		known := bots[b.Account()]
		if known == nil {
			known = &bot{b, map[string]bool{}, t.Name}
			bots[b.Account()] = known
		}
		known.chats[b.Chat] = true
	}
	a.mu.Lock()
	a.bots = bots
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// bot returns what is known of one now; nil where it is not asked any more.
func (a *Asker) bot(account string) *bot {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bots[account]
}

// Run asks until ctx ends.
func (a *Asker) Run(ctx context.Context) {
	defer a.client.Close()
	var asking sync.WaitGroup
	defer asking.Wait()
	stops := map[string]context.CancelFunc{}
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	for {
		a.mu.Lock()
		bots := a.bots
		a.mu.Unlock()
		for account, stop := range stops {
			if bots[account] == nil {
				stop()
				delete(stops, account)
			}
		}
		for account := range bots {
			if stops[account] == nil {
				of, stop := context.WithCancel(ctx)
				stops[account] = stop
				asking.Go(func() { a.ask(of, account) })
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		}
	}
}

// ask asks one bot until ctx ends.
func (a *Asker) ask(ctx context.Context, account string) {
	from, failures, told := int64(0), 0, map[string]bool{}
	for {
		b := a.bot(account)
		var reason string
		var wait time.Duration
		if b != nil {
			from, reason, wait = a.hear(ctx, b, from, told)
		}
		switch {
		case ctx.Err() != nil:
			return
		case b != nil && reason == "":
			if failures > 0 {
				a.Logger.Info("presses below messages are heard again", "trigger", b.name)
				clear(told)
			}
			failures = 0
			continue
		case b != nil:
			a.say(told, b, reason)
		}
		failures++
		select {
		case <-ctx.Done():
		case <-a.After(max(wait, backoff(failures))):
		}
	}
}

// hear asks once, and does what was pressed. It returns from where on to ask next; and
// why that must wait, and what the service asks to wait, if so.
func (a *Asker) hear(ctx context.Context, b *bot, from int64, told map[string]bool) (next int64, reason string, wait time.Duration) {
	presses, v := b.Presses(ctx, from)
	for _, p := range presses {
		b := a.bot(b.Account())
		if b == nil { // its triggers have gone meanwhile
			break
		}
		if err := a.act(ctx, b, p, told); err != nil {
			return from, "what was pressed can't be done yet: " + err.Error(), 0 // it is told again
		}
		from = p.Update + 1
	}
	return from, v.Reason, v.Wait
}

func backoff(failures int) time.Duration {
	return min(firstWait<<min(failures-1, 10), longestWait)
}

// say logs once how asking a bot fails.
func (a *Asker) say(told map[string]bool, b *bot, reason string) {
	if !told[reason] {
		told[reason] = true
		a.Logger.Warn("presses below messages are not heard", "trigger", b.name, "reason", reason)
	}
}

// act does what was pressed, answers, and takes away the buttons that are of no more
// use. An error is the store's, and a reason to do it again. Nobody waits for an
// answer that fails: who presses again gets another.
func (a *Asker) act(ctx context.Context, b *bot, p telegram.Press, told map[string]bool) error {
	if p.Query == "" {
		return nil
	}
	here := false
	for chat := range b.chats {
		here = here || p.In(chat)
	}
	said, about := "This chat is not one that logscan sends to.", int64(0)
	if here {
		var err error
		if said, about, err = a.do(ctx, p); err != nil {
			return err
		}
	}
	verdicts := []channel.Verdict{b.Answer(ctx, p, said)}
	if about != 0 {
		verdicts = append(verdicts, b.Leave(ctx, p, func(data string) bool {
			other, err := action.Verify(a.Key, data, a.Now())
			return errors.Is(err, action.ErrForged) || other.Incident != about
		}))
	}
	for _, v := range verdicts {
		if v.Reason != "" && ctx.Err() == nil {
			a.say(told, b, v.Reason)
		}
	}
	return nil
}

// do does what was pressed. It returns what to say, and the incident whose buttons are
// of no more use; 0 for none.
func (a *Asker) do(ctx context.Context, p telegram.Press) (said string, about int64, err error) {
	act, err := action.Verify(a.Key, p.Data, a.Now())
	switch {
	case errors.Is(err, action.ErrExpired):
		return "This button has expired: it was good for a day.", act.Incident, nil
	case err != nil:
		return "This button is not one of this logscan's.", 0, nil
	}
	i, err := a.Store.ChangeIncidentOnce(ctx, act.Incident, p.Data, act.Until, func(i *incident.Incident) (incident.Notice, error) {
		return act.Verb.Do(i, a.Now(), p.By+" in Telegram")
	})
	said = "Done: the incident is "
	switch {
	case errors.Is(err, store.ErrUsed):
		i, err = a.Store.Incident(ctx, act.Incident)
		said = "This button was used before. The incident is "
	case errors.Is(err, incident.ErrResolved):
		i, err = a.Store.Incident(ctx, act.Incident)
		said = "Nothing to do: the incident is "
	}
	if errors.Is(err, store.ErrNotFound) {
		return "The incident is no longer kept.", act.Incident, nil
	}
	return said + string(i.State) + ".", act.Incident, err
}
