package reprise_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocsForOpenSSL: docs/openssl.md names what exists, and nothing that the manual pages describe is missing.
func TestDocsForOpenSSL(t *testing.T) {
	text, err := os.ReadFile("docs/openssl.md")
	if err != nil {
		t.Fatal(err)
	}
	known := exportedBy(t, "reprise", "sslsession", "stdtls", "listen", "native")
	checked := 0
	for _, span := range regexp.MustCompile("`[^`\n]+`").FindAllString(string(text), -1) {
		for _, match := range goName.FindAllStringSubmatch(span, -1) {
			checked++
			if !has(known, match[1], match[2]) {
				t.Errorf("%s: there is no %s", span, match[2])
			}
		}
	}
	if checked < 150 {
		t.Errorf("only %d names were found", checked)
	}
	for _, name := range manual {
		if !regexp.MustCompile(`\b` + name + `\b`).Match(text) {
			t.Errorf("%s is not mapped", name)
		}
	}
}

// TestGuide: docs/guide.md names what exists.
func TestGuide(t *testing.T) {
	text, err := os.ReadFile("docs/guide.md")
	if err != nil {
		t.Fatal(err)
	}
	known := exportedBy(t, "reprise", "stdtls", "listen")
	checked := 0
	for _, match := range regexp.MustCompile(`\b(?:(reprise|stdtls|listen)\.|(Cache|Options|StoreBinding)\.)([A-Z]\w*)`).FindAllStringSubmatch(string(text), -1) {
		checked++
		if pkg, typ, name := match[1], match[2], match[3]; pkg != "" && !known[pkg][name] || typ != "" && !known["reprise"][typ+"."+name] {
			t.Errorf("there is no %s", match[0])
		}
	}
	if checked < 30 {
		t.Errorf("only %d names were found", checked)
	}
}

// exportedBy returns the names that each of some packages exports.
func exportedBy(t *testing.T, packages ...string) map[string]map[string]bool {
	t.Helper()
	known := make(map[string]map[string]bool)
	for _, pkg := range packages {
		known[pkg] = exported(t, strings.Replace(pkg, "reprise", ".", 1))
	}
	return known
}

// goName finds names of a package of ours, with or without the package before them, such as reprise.New and Cache.SetMode.
var goName = regexp.MustCompile(`(?:\b(reprise|sslsession|stdtls|listen|native)\.|^.)([A-Z]\w*(?:\.[A-Z]\w*)?)\b`)

// has reports whether the package has the name. Without a package, a name with a dot is a member of a type of any of ours; other names may
// be of anybody.
func has(known map[string]map[string]bool, pkg, name string) bool {
	if pkg != "" {
		return known[pkg][name]
	}
	typ, _, isMember := strings.Cut(name, ".")
	isOurs := false
	for _, names := range known {
		if names[name] {
			return true
		}
		isOurs = isOurs || names[typ]
	}
	return !isMember || !isOurs
}

// exported returns the exported names of a package, and those of the fields and methods of its types.
func exported(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no files: %v", dir, err)
	}
	names := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			addNames(names, decl)
		}
	}
	return names
}

func addNames(names map[string]bool, decl ast.Decl) {
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		name := decl.Name.Name
		if decl.Recv != nil {
			name = receiver(decl) + "." + name
		}
		names[name] = true
	case *ast.GenDecl:
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					names[name.Name] = true
				}
			case *ast.TypeSpec:
				names[spec.Name.Name] = true
				if s, ok := spec.Type.(*ast.StructType); ok {
					addFields(names, spec.Name.Name, s)
				}
			}
		}
	}
}

func addFields(names map[string]bool, typ string, s *ast.StructType) {
	for _, field := range s.Fields.List {
		for _, name := range field.Names {
			names[typ+"."+name.Name] = true
		}
	}
}

func receiver(decl *ast.FuncDecl) string {
	typ := decl.Recv.List[0].Type
	if pointer, ok := typ.(*ast.StarExpr); ok {
		typ = pointer.X
	}
	if name, ok := typ.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}

// manual is what the manual pages that docs/openssl.md goes through describe.
var manual = strings.Fields(`
	SSL_CTX_sess_set_new_cb SSL_CTX_sess_set_remove_cb SSL_CTX_sess_set_get_cb
	SSL_CTX_sess_get_new_cb SSL_CTX_sess_get_remove_cb SSL_CTX_sess_get_get_cb
	SSL_CTX_set_session_cache_mode SSL_CTX_get_session_cache_mode
	SSL_SESS_CACHE_OFF SSL_SESS_CACHE_CLIENT SSL_SESS_CACHE_SERVER SSL_SESS_CACHE_BOTH SSL_SESS_CACHE_NO_AUTO_CLEAR
	SSL_SESS_CACHE_NO_INTERNAL_LOOKUP SSL_SESS_CACHE_NO_INTERNAL_STORE SSL_SESS_CACHE_NO_INTERNAL SSL_SESS_CACHE_UPDATE_TIME
	SSL_CTX_sess_number SSL_CTX_sess_connect SSL_CTX_sess_connect_good SSL_CTX_sess_connect_renegotiate
	SSL_CTX_sess_accept SSL_CTX_sess_accept_good SSL_CTX_sess_accept_renegotiate SSL_CTX_sess_hits SSL_CTX_sess_cb_hits
	SSL_CTX_sess_misses SSL_CTX_sess_timeouts SSL_CTX_sess_cache_full
	SSL_CTX_flush_sessions SSL_CTX_set_timeout SSL_CTX_get_timeout
	SSL_CTX_set_session_id_context SSL_set_session_id_context
	SSL_CTX_set_generate_session_id SSL_set_generate_session_id SSL_has_matching_session_id
	SSL_CTX_add_session SSL_CTX_remove_session
	SSL_set_num_tickets SSL_get_num_tickets SSL_CTX_set_num_tickets SSL_CTX_get_num_tickets SSL_new_session_ticket
	SSL_SESSION_new SSL_SESSION_dup SSL_SESSION_up_ref SSL_SESSION_free
	d2i_SSL_SESSION i2d_SSL_SESSION`)
