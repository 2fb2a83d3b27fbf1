package main

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"

	"logscan/internal/api"
)

// openapi is what the manual shows of the API's own description.
type openapi struct {
	Paths map[string]map[string]struct {
		Summary string
	}
}

// describe asks an API for its description.
func describe() (d openapi, err error) {
	answer := httptest.NewRecorder()
	api.New(api.Config{}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	return d, json.Unmarshal(answer.Body.Bytes(), &d)
}

// operations makes the table of the API's paths.
func operations(string) (string, error) {
	d, err := describe()
	if err != nil {
		return "", err
	}
	rows := [][]string{{"method", "path", "what for"}}
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		for _, method := range []string{"get", "post", "put", "patch", "delete"} {
			if op, ok := d.Paths[path][method]; ok {
				rows = append(rows, []string{strings.ToUpper(method), "`" + path + "`", op.Summary})
			}
		}
	}
	return table(rows), nil
}
