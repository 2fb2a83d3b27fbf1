//go:build !race

package match

const slowness = 1
