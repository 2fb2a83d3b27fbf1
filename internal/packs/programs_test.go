package packs

import "testing"

// TestPrograms has the programs themselves do ordinary work, of which no rule may say
// anything, and get into what the rules of their packs are for.
func TestPrograms(t *testing.T) {
	m := newMachine(t, "programs")
	t.Run("nginx", func(t *testing.T) { testNginx(t, &machine{t, m.root}) })
	t.Run("redis", func(t *testing.T) { testRedis(t, &machine{t, m.root}) })
	t.Run("postgresql", func(t *testing.T) { testPostgreSQL(t, &machine{t, m.root}) })
}

// TestServers does so with more of them.
func TestServers(t *testing.T) {
	m := newMachine(t, "servers")
	t.Run("haproxy", func(t *testing.T) { testHAProxy(t, &machine{t, m.root}) })
	t.Run("apache", func(t *testing.T) { testApache(t, &machine{t, m.root}) })
	t.Run("openssh", func(t *testing.T) { testOpenSSH(t, &machine{t, m.root}) })
	t.Run("mysql", func(t *testing.T) { testMariaDB(t, &machine{t, m.root}) })
}
