package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// errNoNginx is returned where there is no nginx to be started.
var errNoNginx = errors.New("nginx is not installed")

// nginxConfig makes nginx one process that answers each request with a byte.
const nginxConfig = `
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events { worker_connections 128; }
http {
  access_log off;
  server_tokens off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server {
    listen %s ssl;
    ssl_certificate chain.pem;
    ssl_certificate_key key.pem;
    ssl_session_cache shared:sessions:10m;
    ssl_session_timeout 2h;
    ssl_session_tickets off;
    location / { return 200 x; }
  }
}
`

// nginxServer returns the command of an nginx, and the address that it will listen at.
func (b *benchmark) nginxServer(setup serverSetup) (command *exec.Cmd, address *net.TCPAddr, err error) {
	program, err := findNginx()
	if err != nil {
		return nil, nil, err
	}
	folder, err := b.writePEM(setup)
	if err != nil {
		return nil, nil, err
	}
	if address, err = freeAddress(); err != nil {
		return nil, nil, err
	}
	config := filepath.Join(folder, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, address), 0o600); err != nil {
		return nil, nil, err
	}
	return exec.Command(program, "-p", folder, "-c", config, "-e", "stderr"), address, nil
}

// findNginx looks where Debian has it, too, which is not in everybody's path.
func findNginx() (string, error) {
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if program, err := exec.LookPath(name); err == nil {
			return program, nil
		}
	}
	return "", errNoNginx
}

// settleTime is how long a server that can't be asked may take to forget its last connection.
const settleTime = 5 * time.Millisecond
