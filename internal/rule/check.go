package rule

// CheckPattern says why an expression can't be used, be it for lines or for
// events' messages: the same bounds hold for all.
func CheckPattern(pattern string) error {
	_, err := compilePattern(pattern)
	return err
}
