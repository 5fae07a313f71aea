package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/alecthomas/kong"

	"github.com/reprise-tls/reprise/cmd/reprise/internal/hint"
)

// A File is the path of a TOML file with settings. Its keys are the names of the flags of the command, such as
// cache-size; a flag that may be repeated has an array. A key that is no flag is an error.
type File string

// notInFile are flags that make no sense in a file.
var notInFile = []string{"config", "check", "help"}

// BeforeResolve is called by kong between the command line and the files.
func (File) BeforeResolve(ctx *kong.Context, trace *kong.Path) error {
	path := string(ctx.FlagValue(trace.Flag).(File))
	if path == "" {
		return nil
	}
	values, err := readFile(path)
	if err != nil {
		return err
	}
	if err := checkKeys(path, values, ctx.Selected().Flags); err != nil {
		return err
	}
	ctx.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		value, ok := values[flag.Name]
		if !ok || inEnvironment(flag) || slices.Contains(notInFile, flag.Name) {
			return nil, nil
		}
		return value, nil
	}))
	return nil
}

func inEnvironment(flag *kong.Flag) bool {
	return slices.ContainsFunc(flag.Envs, func(name string) bool { _, ok := os.LookupEnv(name); return ok })
}

// readFile returns the settings of a file as the strings that they would be on the command line.
func readFile(path string) (map[string]any, error) {
	var parsed map[string]any
	if _, err := toml.DecodeFile(path, &parsed); err != nil {
		if syntax := new(toml.ParseError); errors.As(err, syntax) {
			return nil, hint.With(fmt.Errorf("settings file %s, line %d: %s", path, syntax.Position.Line, syntax.Message),
				`the file is TOML, such as: listen = ["127.0.0.1:8443"]`)
		}
		return nil, hint.With(fmt.Errorf("settings file: %w", err), "--config names a TOML file that this user can read")
	}
	values := make(map[string]any, len(parsed))
	for key, value := range parsed {
		text, err := asText(value)
		if err != nil {
			return nil, hint.With(fmt.Errorf("settings file %s: %s is %w", path, key, err),
				`a setting is a string, a number, true or false, or an array of strings; a duration is a string, such as "2h"`)
		}
		values[key] = text
	}
	return values, nil
}

// asText returns a value as it would be on the command line, and an array as such texts.
func asText(value any) (any, error) {
	switch value := value.(type) {
	case string, bool:
		return value, nil
	case int64, float64:
		return fmt.Sprint(value), nil
	case []any:
		for i, element := range value {
			text, ok := element.(string)
			if !ok {
				return nil, errors.New("an array with something else than strings in it")
			}
			value[i] = text
		}
		return value, nil
	default:
		return nil, errors.New("a table or a date")
	}
}

// checkKeys refuses keys that are no setting, all at once.
func checkKeys(path string, values map[string]any, flags []*kong.Flag) error {
	var known []string
	for _, flag := range flags {
		if !slices.Contains(notInFile, flag.Name) {
			known = append(known, flag.Name)
		}
	}
	var errs []error
	for key := range values {
		if !slices.Contains(known, key) {
			errs = append(errs, hint.With(fmt.Errorf("settings file %s: unknown setting %q", path, key), "%s", suggestion(key, known)))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return hint.Join(errs...)
}

func suggestion(key string, known []string) string {
	plain := strings.NewReplacer("_", "", "-", "").Replace
	for _, name := range known {
		if strings.EqualFold(plain(name), plain(key)) {
			return "it is called " + name
		}
	}
	return "'reprise serve --help' lists the settings: the flags without their dashes"
}
