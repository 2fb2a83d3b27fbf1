package alertmanager

// What tests over a real store need, which imports this package.
const (
	Again = again
	Lasts = lasts
)

type Alert = alert
