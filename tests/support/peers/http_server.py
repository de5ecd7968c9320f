"""An HTTP server with bad manners: each path behaves in its own way. Prints its port.

usage: http_server.py [CERTIFICATE KEY]
Ends by itself after some minutes.
"""
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time

gone = 0  # clients that closed while they were waited for
connections = 0


def reply(sock, body, status="200 OK", extra=""):
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nContent-Type: application/json\r\n{extra}\r\n"
    sock.sendall(head.encode() + body)


def wait_until_gone(sock):
    global gone
    try:
        while sock.recv(4096):
            pass
    except OSError:
        pass
    gone += 1


def send_until_gone(sock, piece, pause_s=0.0):
    global gone
    try:
        while True:
            sock.sendall(piece)
            time.sleep(pause_s)
    except OSError:
        gone += 1


def read_request(sock, rest):
    while b"\r\n\r\n" not in rest:
        got = sock.recv(65536)
        if not got or got[0] == 0x16:  # TLS, which this one does not speak
            return None
        rest += got
    head, rest = rest.split(b"\r\n\r\n", 1)
    lines = head.decode("latin-1").split("\r\n")
    method, path, _ = lines[0].split(" ", 2)
    headers = {}
    for line in lines[1:]:
        name, value = line.split(":", 1)
        headers[name.lower()] = value.strip()
    length = int(headers.get("content-length", 0))
    while len(rest) < length:
        rest += sock.recv(65536)
    return method, path, headers, rest[:length], rest[length:]


def answer(sock, method, path, headers, body):
    """False when the connection is over."""
    if path == "/echo":
        told = {"method": method, "headers": headers, "body": body.decode("latin-1")}
        reply(sock, b"" if method == "HEAD" else json.dumps(told).encode())
    elif path == "/missing":
        reply(sock, b"{}", "404 Not Found")
    elif path == "/redirect":
        reply(sock, b"", "302 Found", "Location: /echo\r\n")
    elif path == "/round":
        reply(sock, b"", "302 Found", "Location: /round\r\n")
    elif path == "/to-file":
        reply(sock, b"", "302 Found", "Location: file:///etc/passwd\r\n")
    elif path == "/repeated":
        reply(sock, b"{}", extra="X-One: a\r\nx-one: b\r\n")
    elif path == "/notjson":
        reply(sock, b'{\n  "a": tru }')
    elif path == "/big":
        reply(sock, b"x" * 5000)
    elif path == "/once":  # promises to keep the connection, and resets it
        reply(sock, b"{}", extra="Connection: keep-alive\r\n")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False
    elif path == "/gone":
        reply(sock, str(gone).encode())
    elif path == "/connections":
        reply(sock, str(connections).encode())
    elif path == "/silent":
        wait_until_gone(sock)
        return False
    elif path == "/endless":
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        send_until_gone(sock, b"x" * 4096)
        return False
    elif path == "/drip":
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        send_until_gone(sock, b"x", 0.01)
        return False
    elif path == "/endless-headers":
        sock.sendall(b"HTTP/1.1 200 OK\r\n")
        send_until_gone(sock, b"X-More: " + b"y" * 1000 + b"\r\n")
        return False
    elif path == "/half":
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it")
        return False
    elif path == "/garbage":
        sock.sendall(b"\x00\xff\x16 this is no HTTP\r\n\r\n" * 20)
        return False
    else:  # /close
        return False
    return True


def serve(sock):
    global connections
    connections += 1
    rest = b""
    try:
        while True:
            request = read_request(sock, rest)
            if request is None:
                break
            rest = request[4]
            if not answer(sock, *request[:4]):
                break
    except (OSError, ValueError):
        pass
    try:
        sock.close()
    except OSError:
        pass


def accept(listener, context):
    sock, _ = listener.accept()

    def run():
        try:
            served = context.wrap_socket(sock, server_side=True) if context else sock
        except OSError:
            return
        serve(served)

    threading.Thread(target=run, daemon=True).start()


def main():
    context = None
    if len(sys.argv) == 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
    threading.Timer(240, lambda: os._exit(0)).start()
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)
    while True:
        accept(listener, context)


main()
