#!/usr/bin/env python3
"""A transparent proxy as it would be written for netfilter: it asks SO_ORIGINAL_DST, dials, and knows
nothing of Hoptrail. The kernel infers its trails. python3 rude_proxy.py PORT [--name NAME]"""
import argparse, select, socket, struct, threading

SO_ORIGINAL_DST = 80


def original_destination(sock):
    if sock.family == socket.AF_INET:
        _, port, ip = struct.unpack_from("!HH4s", sock.getsockopt(socket.IPPROTO_IP, SO_ORIGINAL_DST, 16))
        return socket.inet_ntop(socket.AF_INET, ip), port
    _, port, _, ip = struct.unpack_from("!HHI16s", sock.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28))
    return socket.inet_ntop(socket.AF_INET6, ip), port


def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for sock in (source, target):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            try:
                sock.shutdown(socket.SHUT_RD)  # wakes the other thread
            except OSError:
                pass


def serve(name, accepted):
    with accepted:
        try:
            host, port = original_destination(accepted)
            if (host, port) == accepted.getsockname()[:2]:
                raise OSError("connected to the proxy itself")
            upstream = socket.create_connection((host, port))
        except OSError as error:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            print(f"{name}: {error}; reset", flush=True)
            return
        print(f"{name}: {accepted.getpeername()[0]} -> {host}:{port}", flush=True)
        with upstream:
            down = threading.Thread(target=pump, args=(upstream, accepted), daemon=True)
            down.start()
            pump(accepted, upstream)
            down.join()


def main():
    parser = argparse.ArgumentParser(description="transparent TCP proxy that knows only SO_ORIGINAL_DST")
    parser.add_argument("port", type=int)
    parser.add_argument("--name", default="rude-proxy", help="first word of each log line")
    options = parser.parse_args()
    listeners = [socket.create_server(("127.0.0.1", options.port), backlog=512),
                 socket.create_server(("::1", options.port), family=socket.AF_INET6, backlog=512)]
    while True:
        for listener in select.select(listeners, [], [])[0]:
            threading.Thread(target=serve, args=(options.name, listener.accept()[0]), daemon=True).start()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
