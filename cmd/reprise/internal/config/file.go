package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
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
var notInFile = []string{"config", "check", "help", "version"}

// BeforeResolve is called by kong between the command line and the files.
func (File) BeforeResolve(ctx *kong.Context, trace *kong.Path, origins Origins) error {
	path := string(ctx.FlagValue(trace.Flag).(File))
	if path == "" {
		return nil
	}
	f := settingsFile{path: path, flags: make(map[string]*kong.Flag), values: make(map[string]any), lines: make(map[string]string)}
	for _, flag := range ctx.Selected().Flags {
		if !slices.Contains(notInFile, flag.Name) {
			f.flags[flag.Name] = flag
		}
	}
	if err := f.read(); err != nil {
		return err
	}
	ctx.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		value, ok := f.values[flag.Name]
		if !ok || inEnvironment(flag) {
			return nil, nil
		}
		origins[flag.Name] = f.lines[flag.Name]
		return value, nil
	}))
	return nil
}

func inEnvironment(flag *kong.Flag) bool {
	return slices.ContainsFunc(flag.Envs, func(name string) bool { _, ok := os.LookupEnv(name); return ok })
}

// A settingsFile is what [File] names, while it is read.
type settingsFile struct {
	path   string
	flags  map[string]*kong.Flag // by name: those that a file may have
	values map[string]any        // the settings in the file, as they would be on the command line
	lines  map[string]string     // where they stand
}

// read reads the file, and reports everything that is wrong, with its line.
func (f *settingsFile) read() error {
	var parsed map[string]toml.Primitive
	meta, err := toml.DecodeFile(f.path, &parsed)
	if err != nil {
		if syntax := new(toml.ParseError); errors.As(err, syntax) {
			return hint.With(fmt.Errorf("%s: %s", f.line(syntax.Position.Line), syntax.Message),
				`the file is TOML, such as: listen = ["127.0.0.1:8443"]`)
		}
		return hint.With(fmt.Errorf("settings file: %w", err), "--config names a TOML file that this user can read")
	}
	var errs []error
	for _, key := range meta.Keys() {
		if len(key) > 1 { // within a table, which is reported by itself
			continue
		}
		s := &setting{file: f, key: key[0]}
		located := new(toml.ParseError)
		if !errors.As(meta.PrimitiveDecode(parsed[s.key], s), located) {
			continue
		}
		line := f.line(located.Position.Line)
		f.lines[s.key] = line
		if s.err != nil {
			errs = append(errs, hint.With(fmt.Errorf("%s: %w", line, s.err), "%s", s.hint))
		}
	}
	return hint.Join(errs...)
}

func (f *settingsFile) line(n int) string { return fmt.Sprintf("settings file %s, line %d", f.path, n) }

// A setting reads one setting of the file.
type setting struct {
	file *settingsFile
	key  string
	err  error // what is wrong with it
	hint string
}

// errLocate makes the decoder tell the line of each setting.
var errLocate = errors.New("where is it?")

// UnmarshalTOML implements [toml.Unmarshaler].
func (s *setting) UnmarshalTOML(value any) error {
	flag, ok := s.file.flags[s.key]
	if !ok {
		s.err, s.hint = fmt.Errorf("unknown setting %q", s.key), suggestion(s.key, s.file.flags)
		return errLocate
	}
	text, err := asText(value)
	if err == nil {
		err = try(flag, text)
	}
	if err != nil {
		s.err, s.hint = fmt.Errorf("%s: %w", s.key, err), allowed(flag)
		return errLocate
	}
	s.file.values[s.key] = text
	return errLocate
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

// try tells whether a flag may have the value.
func try(flag *kong.Flag, value any) error {
	scan := kong.Scan().PushTyped(value, kong.FlagValueToken)
	target := reflect.New(flag.Target.Type()).Elem()
	if err := flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, target); err != nil {
		return err
	}
	if text, ok := value.(string); ok && flag.Enum != "" && !slices.Contains(flag.EnumSlice(), text) {
		return fmt.Errorf("%q is none of %s", text, strings.Join(flag.EnumSlice(), ", "))
	}
	return nil
}

// allowed says what a setting may be.
func allowed(flag *kong.Flag) string {
	form := "a string"
	switch flag.Target.Interface().(type) {
	case bool:
		form = "true or false"
	case int:
		form = "a number"
	case []string:
		form = `a string, or an array of strings`
	}
	if flag.PlaceHolder == "DURATION" {
		form = `a string such as "90s", "30m" or "2h"`
	}
	return fmt.Sprintf("%s is %s. %s", flag.Name, form, flag.Help)
}

func suggestion(key string, known map[string]*kong.Flag) string {
	plain := strings.NewReplacer("_", "", "-", "").Replace
	for name := range known {
		if strings.EqualFold(plain(name), plain(key)) {
			return "it is called " + name
		}
	}
	return "'reprise serve --help' lists the settings: the flags without their dashes"
}

// Origins says where the settings that count because a file has them stand in it, by name. It is bound to the parser of the command
// line.
type Origins map[string]string

// errorOf finds the setting that an error begins with.
var errorOf = regexp.MustCompile(`^(?:--)?([a-z-]+)[ :]`)

// Point returns err such that an error about a setting that comes from a file says where it stands.
func (o Origins) Point(err error) error {
	var list hint.Errors
	if errors.As(err, &list) {
		pointed := make([]error, len(list))
		for i, err := range list {
			pointed[i] = o.Point(err)
		}
		return hint.Join(pointed...)
	}
	if err == nil {
		return nil
	}
	name := errorOf.FindStringSubmatch(err.Error())
	if name == nil || o[name[1]] == "" {
		return err
	}
	located := fmt.Errorf("%s: %s", o[name[1]], strings.TrimPrefix(err.Error(), "--"))
	if hinted := new(hint.Error); errors.As(err, &hinted) {
		return hint.With(located, "%s", hinted.Hint)
	}
	return located
}
