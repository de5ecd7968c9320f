# A TCP server that misbehaves in one way, after any number of good replies. Prints its port.
# Ends by itself after two minutes.
# usage: bad_server.py slow|half|garbage|mute|wrong_id|flood|late [good replies]
# late: half a reply at once, the rest with the reply to the next request
import os
import socket
import struct
import sys
import threading
import time

mode, good = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(4)
print(listener.getsockname()[1], flush=True)


def answer(request):
    transaction, _, _, unit, function, _, count = struct.unpack(">HHHBBHH", request[:12])
    if function in (5, 6):  # writes are echoed
        return request[:12]
    data = bytes(count * 2)
    return struct.pack(">HHHBBB", transaction, 0, len(data) + 3, unit, function, len(data)) + data


def serve(client):
    global good
    late = b""
    while True:
        request = client.recv(260)
        if not request:
            return
        reply = answer(request)
        if good > 0:
            good -= 1
            client.sendall(reply)
        elif mode == "slow":
            for byte in reply:
                client.sendall(bytes([byte]))
                time.sleep(0.02)
        elif mode == "half":
            client.sendall(reply[: len(reply) // 2])
            client.close()
            return
        elif mode == "garbage":
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        elif mode == "wrong_id":
            client.sendall(bytes([reply[0] ^ 0xFF]) + reply[1:])
        elif mode == "flood":
            client.sendall(reply * 2000)
        elif mode == "late":
            whole, late = late + reply, b""
            if whole == reply:
                whole, late = reply[:5], reply[5:]
            client.sendall(whole)
        # mute: nothing


threading.Timer(120, os._exit, [0]).start()
while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
