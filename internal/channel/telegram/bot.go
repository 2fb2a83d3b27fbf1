package telegram

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"logscan/internal/channel"
	"logscan/internal/egress"
)

const (
	// poll is how long Telegram waits for a press before it answers that there is none.
	poll = 50 * time.Second
	// PollTimeout is how long an answer to Bot.Presses may take.
	PollTimeout = poll + 15*time.Second
	// PollKeep is how much of an answer to Bot.Presses is kept, in bytes: each press
	// comes with the message that it is below.
	PollKeep   = 1 << 20
	maxPresses = 10  // of an answer
	maxSaid    = 200 // characters, in an answer to a press
	maxName    = 100 // bytes, of who pressed
)

// Bot hears what people press below its messages, by asking
// (https://core.telegram.org/bots/api#getupdates). Whatever isn't confirmed by a
// later question is told again, for a day.
type Bot struct {
	// Chat is the one that the bot's messages go to: an id, or @name.
	Chat    string
	client  *egress.Client
	methods string // URL of the bot's methods, with its token
}

// NewBot returns the bot of a channel, with a client whose Timeout and Keep are
// PollTimeout and PollKeep.
func NewBot(c channel.Config) (*Bot, error) {
	t, err := parse(c)
	if err != nil {
		return nil, err
	}
	return &Bot{t.chat, c.Client, t.methods}, nil
}

// Account is the same for all channels of one bot. It has the bot's token.
func (b *Bot) Account() string { return b.methods }

// Press is what somebody pressed below a message.
type Press struct {
	Update int64  // greater than those before it
	Query  string // what an answer goes to; "" where the press is none that can be acted upon
	Data   string // the button's
	By     string // a name for who pressed it, as they chose it
	chat   chat
	below  int64 // the message's id
	rows   [][]button
}

type chat struct {
	ID   int64  `json:"id"`
	Name string `json:"username"`
}

// In reports whether the press was in a chat: an id, or @name.
func (p Press) In(chat string) bool {
	if name, named := strings.CutPrefix(chat, "@"); named {
		return strings.EqualFold(name, p.chat.Name)
	}
	return chat == strconv.FormatInt(p.chat.ID, 10)
}

// query is a callback query
// (https://core.telegram.org/bots/api#callbackquery).
type query struct {
	ID   string `json:"id"`
	Data string `json:"data"`
	From struct {
		First string `json:"first_name"`
		Last  string `json:"last_name"`
		Name  string `json:"username"`
	} `json:"from"`
	Message *struct {
		ID     int64  `json:"message_id"`
		Chat   chat   `json:"chat"`
		Markup markup `json:"reply_markup"`
	} `json:"message"`
}

// Presses waits for what is pressed, for a minute at most, and returns what there is
// from an update on. That confirms those before it.
func (b *Bot) Presses(ctx context.Context, from int64) ([]Press, channel.Verdict) {
	a, err := channel.PostJSON(ctx, b.client, b.methods+"getUpdates", nil, map[string]any{
		"offset": from, "limit": maxPresses, "timeout": int(poll / time.Second), "allowed_updates": []string{"callback_query"},
	})
	v := verdict(channel.Judge(a, err, nil), channel.Fields(a))
	if v.Status == http.StatusConflict {
		v.Reason = "somebody else asks for this bot's presses, or there is a webhook for it, and Telegram tells one only: a bot of its own is needed"
	}
	if v.Reason != "" {
		return nil, v
	}
	var said struct {
		Result []struct {
			ID    int64           `json:"update_id"`
			Query json.RawMessage `json:"callback_query"`
		} `json:"result"`
	}
	if err := json.Unmarshal(a.Body, &said); err != nil {
		v.Reason = "the receiver's answer is not one of Telegram"
		return nil, v
	}
	presses := make([]Press, len(said.Result))
	for k, u := range said.Result {
		presses[k] = press(u.ID, u.Query)
	}
	return presses, v
}

func press(update int64, raw json.RawMessage) Press {
	var q query
	p := Press{Update: update}
	if json.Unmarshal(raw, &q) != nil || q.Message == nil { // nothing of ours
		return p
	}
	p.Query, p.Data, p.chat, p.below, p.rows = q.ID, q.Data, q.Message.Chat, q.Message.ID, q.Message.Markup.Rows
	if p.By = channel.Line("@"+q.From.Name, maxName); q.From.Name == "" {
		p.By = channel.Line(q.From.First+" "+q.From.Last, maxName)
	}
	return p
}

// Answer shows a line to who pressed, by
// https://core.telegram.org/bots/api#answercallbackquery.
func (b *Bot) Answer(ctx context.Context, p Press, line string) channel.Verdict {
	return b.call(ctx, "answerCallbackQuery", map[string]any{"callback_query_id": p.Query, "text": channel.Line(line, maxSaid)})
}

// Leave takes away the buttons below the press's message but those to be left, by
// https://core.telegram.org/bots/api#editmessagereplymarkup.
func (b *Bot) Leave(ctx context.Context, p Press, left func(data string) bool) channel.Verdict {
	out := struct {
		Chat    int64  `json:"chat_id"`
		Message int64  `json:"message_id"`
		Markup  markup `json:"reply_markup"`
	}{p.chat.ID, p.below, markup{[][]button{}}}
	gone := false
	for _, row := range p.rows {
		var rest []button
		for _, button := range row {
			if button.Data == "" || left(button.Data) {
				rest = append(rest, button)
			}
		}
		gone = gone || len(rest) < len(row)
		if rest != nil {
			out.Markup.Rows = append(out.Markup.Rows, rest)
		}
	}
	if !gone {
		return channel.Verdict{}
	}
	return b.call(ctx, "editMessageReplyMarkup", out)
}

// call calls a method of which the failure 400 says that it is too late: there is
// nothing to answer, or to change, any more.
func (b *Bot) call(ctx context.Context, method string, v any) channel.Verdict {
	a, err := channel.PostJSON(ctx, b.client, b.methods+method, nil, v)
	if a.Status == http.StatusBadRequest {
		return channel.Verdict{Status: a.Status}
	}
	return verdict(channel.Judge(a, err, nil), channel.Fields(a))
}
