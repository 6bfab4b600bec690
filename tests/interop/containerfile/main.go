// Reads a Containerfile from standard input as BuildKit does, and fails at what it refuses or warns of.
package main

import (
	"fmt"
	"os"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

func main() {
	wrong := false
	say := func(message any) {
		fmt.Println(message)
		wrong = true
	}
	warn := func(_, _, _, message string, _ []parser.Range) { say(message) }
	parsed, err := parser.Parse(os.Stdin)
	if err == nil {
		_, _, err = instructions.Parse(parsed.AST, linter.New(&linter.Config{Warn: warn}))
	}
	if err != nil {
		say(err)
	}
	if wrong {
		os.Exit(1)
	}
}
