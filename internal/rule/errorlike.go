package rule

import "sync"

// errorLike are rules that say what looks like an error: by its level, or, where it has
// none, by its words.
var errorLike = []Rule{
	likeError("level", func(r *Rule) { r.Where = []string{"level >= error"} }),
	likeError("words", func(r *Rule) {
		r.Pattern = `(?i)\b(?:error|exception|panic|fatal|critical|traceback|failed|failure|segfault|core dumped|out of memory|oom-killed|no space left|permission denied|connection refused|unhandled|uncaught)\b|[a-z](?:Error|Exception)\b`
		r.Where = []string{"level missing"}
	}),
}

func likeError(name string, set func(*Rule)) Rule {
	r := New()
	r.Name, r.CooldownSeconds = name, 0
	set(&r)
	return r
}

// ErrorLike returns a set that matches the lines which look like errors: by their level,
// or, where they have none, by their words.
var ErrorLike = sync.OnceValue(func() *Set {
	snapshot, bad := Compile(errorLike)
	if len(bad) > 0 {
		panic(bad[0])
	}
	return snapshot.For("")
})
