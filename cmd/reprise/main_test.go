package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"reprise": func() { os.Exit(run(os.Args[1:])) }})
}

// TestScripts runs the scripts in testdata. Their commands besides those of testscript:
//
//	serve NAME FLAG...           start a server and wait until it serves; its state folder is NAME unless a flag says so
//	start NAME FLAG...           start a server and do not wait
//	signal SIGNAL NAME           send HUP, INT, TERM or KILL
//	ended NAME STATUS            wait until the server has ended, with this status; its log is then stdout
//	log NAME PATTERN             wait until the server's log matches
//	get NAME [FLAG...]           connect to the server as the client NAME, ask, and print the answer; see client
//	open NAME                    keep a connection to the server open until the script ends
//	hang NAME                    connect, say nothing, and wait until the server closes the connection, 5 seconds at most
//	clean NAME                   see that the server's log has no session ID and no secret of any client
//	status NAME                  print the server's /_status
//	admin NAME METHOD PATH CODE  make a request of the admin interface
//	cert DIR NAME...             make a self-signed certificate for server names, or with the name client: a client's
//	echo NAME                    start a backend that echoes bytes and sets $NAME to its address
//	redis NAME                   start a Redis server with the password "hunter2" and set $NAME to its address;
//	                             redis -stop NAME kills it, redis -pause NAME stops it for half a second
//	silent NAME                  listen, say nothing, and set $NAME to the address
//	web NAME                     start an HTTP backend that answers with headers it got and sets $NAME to its address
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setup,
		Condition:           condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve":   cmdServe,
			"start":   cmdStart,
			"signal":  cmdSignal,
			"ended":   cmdEnded,
			"log":     cmdLog,
			"get":     cmdGet,
			"open":    cmdOpen,
			"hang":    cmdHang,
			"clean":   cmdClean,
			"status":  cmdStatus,
			"written": cmdWritten,
			"admin":   cmdAdmin,
			"cert":    cmdCert,
			"echo":    cmdEcho,
			"redis":   cmdRedis,
			"silent":  cmdSilent,
			"web":     cmdWeb,
		},
	})
}
