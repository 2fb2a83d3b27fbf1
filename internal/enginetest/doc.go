// Package enginetest gives tests a real Docker Engine of their own, with logscan
// in it as it is built and installed for users.
//
//	func TestMain(m *testing.M) { enginetest.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		e := enginetest.Start(t, enginetest.Options{})
//		e.InstallPlugin()
//		name := e.Run(nil, "echo", "hello")
//		…
//	}
//
// An Engine starts in under a second; tests may have several at once. It ends
// with its test, and everything of it is gone then (see package private), also
// when the test process is killed. Helpers that can't do their work fail the
// test; those named Try return the error.
//
// Needed on the machine, and installed by `make deps`: docker.io,
// busybox-static and docker-registry. Tests run as root.
package enginetest
