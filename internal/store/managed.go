package store

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"logscan/internal/fields"
	"logscan/internal/nearest"
	"logscan/internal/rule"
	"logscan/internal/trigger"
)

// Kinds of what can be said.
const (
	KindRule    = "rule"
	KindTrigger = "trigger"
	KindSilence = "silence"
)

// What becomes of them.
const (
	Added   = "added"
	Changed = "changed"
	Removed = "removed"
)

// Change is one change of a rule, a trigger or a silence.
type Change struct {
	Revision int64
	At       time.Time
	Kind     string
	ID       int64
	Name     string // of a silence its key; "" for none
	Action   string
	By       string // as fields.Managed.ManagedBy
}

// maxChanges is how many of the latest changes are kept.
const maxChanges = 1000

// logChange puts a change into the database, and so gives it a revision of its own.
//
// What labels declare has none: it stands in nobody's way, and an Apply isn't to be refused
// since a container has started.
func (s *Store) logChange(ctx context.Context, tx *sql.Tx, c Change) error {
	if strings.HasPrefix(c.By, LabelBy) {
		return nil
	}
	res, err := tx.ExecContext(ctx, "INSERT INTO config_changes (changed_at, kind, object_id, name, action, changed_by) VALUES (?, ?, ?, ?, ?, ?)",
		nanos(s.now()), c.Kind, c.ID, c.Name, c.Action, c.By)
	if err != nil {
		return err
	}
	revision, err := res.LastInsertId()
	if err == nil {
		_, err = tx.ExecContext(ctx, "DELETE FROM config_changes WHERE revision <= ?", revision-maxChanges)
	}
	return err
}

// changesSince returns the changes after a revision, those that are kept.
func changesSince(ctx context.Context, db queryer, revision int64) ([]Change, error) {
	rows, err := db.QueryContext(ctx, "SELECT revision, changed_at, kind, object_id, name, action, changed_by FROM config_changes WHERE revision > ? ORDER BY revision", revision)
	return collect(rows, err, func(r row) (c Change, err error) {
		var at int64
		err = r.Scan(&c.Revision, &at, &c.Kind, &c.ID, &c.Name, &c.Action, &c.By)
		c.At = instant(at)
		return c, err
	})
}

// tables are where things of a kind are.
var tables = map[string]string{KindRule: "rules", KindTrigger: "triggers", KindSilence: "silences"}

// checkManaged refuses what is managed by another than the API.
func checkManaged(ctx context.Context, tx *sql.Tx, kind string, id int64) error {
	name := "definition ->> '$.name'"
	if kind == KindSilence {
		name = "key"
	}
	e := &fields.ManagedError{What: kind}
	var called string
	err := tx.QueryRowContext(ctx, "SELECT coalesce("+name+", ''), managed_by, key, declared_at FROM "+tables[kind]+" WHERE id = ?", id).
		Scan(&called, &e.ManagedBy, &e.Key, &e.DeclaredAt)
	if err != nil || !e.Elsewhere() {
		return err
	}
	e.What += " " + called
	return e
}

// triggerNames are the names of all triggers.
func triggerNames(ctx context.Context, tx *sql.Tx) ([]string, error) {
	rows, err := tx.QueryContext(ctx, "SELECT definition ->> '$.name' FROM triggers ORDER BY id")
	return collect(rows, err, func(r row) (name string, err error) { return name, r.Scan(&name) })
}

// checkTriggers refuses a rule that names a trigger which doesn't exist.
func checkTriggers(ctx context.Context, tx *sql.Tx, r rule.Rule) error {
	if len(r.Triggers) == 0 {
		return nil
	}
	known, err := triggerNames(ctx, tx)
	if err != nil {
		return err
	}
	return MissingTrigger(r, known)
}

// MissingTrigger says which trigger that a rule names isn't known, as a *fields.Error.
func MissingTrigger(r rule.Rule, known []string) error {
	for _, name := range r.Triggers {
		if slices.Contains(known, name) {
			continue
		}
		hint := ""
		if meant, near := nearest.Name(name, known); near {
			hint = "; did you mean " + meant + "?"
		}
		return &fields.Error{Field: "triggers", Reason: fmt.Sprintf("there is no trigger %.64q%s", name, hint)}
	}
	return nil
}

// NamedError refuses to leave rules without a trigger that they name.
type NamedError struct {
	Trigger string
	Rules   []string // the first ones
}

func (e *NamedError) Error() string {
	return fmt.Sprintf("there would be no trigger %s any more, and the rules %s tell it alone: change them first", e.Trigger, strings.Join(e.Rules, ", "))
}

// checkNamed refuses a state in which a rule names a trigger that doesn't exist.
func checkNamed(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, "SELECT definition ->> '$.name', definition ->> '$.triggers' FROM rules WHERE coalesce(definition ->> '$.triggers', '') <> '' ORDER BY id")
	type naming struct{ rule, triggers string }
	all, err := collect(rows, err, func(r row) (n naming, err error) { return n, r.Scan(&n.rule, &n.triggers) })
	if err != nil || len(all) == 0 {
		return err
	}
	known, err := triggerNames(ctx, tx)
	if err != nil {
		return err
	}
	var refused *NamedError
	for _, n := range all {
		for name := range strings.SplitSeq(n.triggers, ",") {
			switch {
			case slices.Contains(known, name):
			case refused == nil:
				refused = &NamedError{name, []string{n.rule}}
			case refused.Trigger == name && len(refused.Rules) < 5:
				refused.Rules = append(refused.Rules, n.rule)
			}
		}
	}
	if refused == nil {
		return nil
	}
	return refused
}

// UseKey has what references to secrets stand for be sealed by a key of 32 bytes. It is
// called before anything else is; without, there can be no such references.
func (s *Store) UseKey(key []byte) {
	block, err := aes.NewCipher(key)
	if err == nil {
		s.sealer, err = cipher.NewGCMWithRandomNonce(block)
	}
	if err != nil {
		panic(err) // only the key's length could be wrong
	}
}

var errNoKey = errors.New("there is no key for secrets")

// seal returns a trigger's definition, with its references, and sealed what they stand
// for.
func (s *Store) seal(t trigger.Trigger) (definition, sealed []byte, err error) {
	sealed = []byte{}
	if len(t.Refs) > 0 {
		if s.sealer == nil {
			return nil, nil, errNoKey
		}
		secrets := map[string]string{}
		for name, text := range t.Refs {
			at := secretField(&t, name)
			if at == nil {
				return nil, nil, fmt.Errorf("%s can't refer to a secret", name)
			}
			secrets[name], *at = *at, text
		}
		sealed = s.sealer.Seal(nil, nil, []byte(asJSON(secrets)), nil)
	}
	definition, err = trigger.Fields.MarshalDefinition(t)
	return definition, sealed, err
}

// openSealed returns what was sealed.
func (s *Store) openSealed(sealed []byte) (secrets map[string]string, err error) {
	if s.sealer == nil {
		return nil, errNoKey
	}
	b, err := s.sealer.Open(nil, nil, sealed, nil)
	if err == nil {
		err = json.Unmarshal(b, &secrets)
	}
	return secrets, err
}

// unseal puts in place of references what they stand for.
func unseal(t trigger.Trigger, secrets map[string]string) trigger.Trigger {
	t.Refs = map[string]string{}
	for name, secret := range secrets {
		if at := secretField(&t, name); at != nil {
			t.Refs[name], *at = *at, secret
		}
	}
	return t
}

// secretField is the field of a trigger with a name that may refer to a secret.
func secretField(t *trigger.Trigger, name string) *string {
	switch name {
	case "action_url":
		return &t.ActionURL
	case "action_secret":
		return &t.ActionSecret
	}
	return nil
}
