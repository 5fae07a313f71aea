// Makes HTTPS requests with an agent, which keeps sessions by itself. Lines as in client.js.
'use strict';
const fs = require('fs');
const https = require('https');
const readline = require('readline');

const settings = JSON.parse(process.argv[2]);
const version = settings.version.replace('TLS ', 'TLSv');
const agent = new https.Agent({
  ca: fs.readFileSync(settings.ca), minVersion: version, maxVersion: version, keepAlive: false,
});

function request({ port, name }) {
  return new Promise((resolve, reject) => {
    https.get({ host: '127.0.0.1', port, servername: name, agent }, (response) => {
      let body = '';
      response.on('data', (chunk) => { body += chunk; });
      response.on('end', () => resolve({ resumed: response.socket.isSessionReused(), body }));
    }).on('error', reject);
  });
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await request(JSON.parse(line))));
  }
})();
