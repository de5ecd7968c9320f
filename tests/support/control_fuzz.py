# Garbage for a control socket: random bytes, broken and huge requests, clients that do not read, half
# requests. Prints what came back for the well-formed request in between.
# usage: python3 control_fuzz.py SOCKET SEED ROUNDS
import json, random, socket, sys

path, seed, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
dice = random.Random(seed)
PIECES = [b"{", b"}", b'"cmd"', b":", b'"tasks"', b'"entities"', b"[", b"]", b",", b"\x00", b"\xff", b"\\u0000", b"1e999", b"null",
          b'"arg"', b"\\", b'"', b'"' + b"a" * 300 + b'"', b"[" * 400]


def dial():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(10)
    s.connect(path)
    return s


def line(s):
    got = b""
    while not got.endswith(b"\n"):
        part = s.recv(65536)
        if not part:
            break
        got += part
    return got


def garbage():
    kind = dice.randrange(5)
    if kind == 0:
        return bytes(dice.randrange(256) for _ in range(dice.randrange(1, 200))) + b"\n"
    if kind == 1:
        return b"".join(dice.choice(PIECES) for _ in range(dice.randrange(1, 30))) + b"\n"
    if kind == 2:
        return b"x" * dice.randrange(4090, 9000)
    if kind == 3:
        whole = bytearray(b'{"cmd":"status","arg":""}\n')
        whole[dice.randrange(len(whole))] = dice.randrange(256)
        return bytes(whole)
    return b"\n" * dice.randrange(1, 50)


def main():
    held = []
    for i in range(rounds):
        try:
            s = dial()
            s.sendall(garbage())
            if dice.random() < 0.5:
                answer = line(s)
                if answer:
                    json.loads(answer)  # whatever comes is JSON
            if dice.random() < 0.2 and len(held) < 3:
                held.append(s)  # neither reads nor asks
            else:
                s.close()
        except (BrokenPipeError, ConnectionResetError, socket.timeout):
            pass
        if i % 10 == 9:
            s = dial()
            s.sendall(b'{"cmd":"status"}\n{"cmd":"systems"}\n')
            first = line(s)
            answer = json.loads(first.split(b"\n")[0])
            if not answer["ok"] and answer["error"]["code"] == "busy":
                s.close()
                continue
            assert answer["ok"] and answer["status"]["name"], answer
            s.close()
    print("held the line")


main()
