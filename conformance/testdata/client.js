// Makes TLS connections with the module tls. For each line of JSON on standard input, one connection; for each, a line.
'use strict';
const fs = require('fs');
const readline = require('readline');
const tls = require('tls');

const settings = JSON.parse(process.argv[2]);
const version = settings.version.replace('TLS ', 'TLSv');
const ca = fs.readFileSync(settings.ca);
let session;

function connect(request) {
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1', port: request.port, servername: request.name, ca, session,
      minVersion: version, maxVersion: version,
    };
    if (request.cert) {
      options.cert = fs.readFileSync(request.cert);
      options.key = fs.readFileSync(request.key);
    }
    const socket = tls.connect(options, () => socket.write('GET / HTTP/1.0\r\n\r\n'));
    let response = '';
    socket.on('data', (chunk) => { response += chunk; });
    socket.on('session', (s) => { if (!request.keep) session = s; });
    socket.on('error', reject);
    socket.on('end', () => {
      resolve({ resumed: socket.isSessionReused(), body: response.split('\r\n\r\n')[1] });
      socket.end();
    });
  });
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await connect(JSON.parse(line))));
  }
})();
