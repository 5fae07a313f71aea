"""Makes TLS connections with the ssl module. For each line of JSON on standard input, one connection; for each, a line."""

import json
import socket
import ssl
import sys

settings = json.loads(sys.argv[1])
version = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}[settings["version"]]
context = ssl.create_default_context(cafile=settings["ca"])
context.minimum_version = context.maximum_version = version
session = None

for line in sys.stdin:
    request = json.loads(line)
    if request.get("cert"):
        context.load_cert_chain(request["cert"], request["key"])
    raw = socket.create_connection(("127.0.0.1", request["port"]))
    with context.wrap_socket(raw, server_hostname=request["name"], session=session) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        response = b""
        while chunk := connection.recv(4096):
            response += chunk
        if not request["keep"]:
            session = connection.session
        body = response.decode().split("\r\n\r\n", 1)[1]
        print(json.dumps({"resumed": connection.session_reused, "body": body}), flush=True)
