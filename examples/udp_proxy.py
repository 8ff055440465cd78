#!/usr/bin/env python3
"""An inspecting UDP proxy, written from docs/abi.md alone: python3 udp_proxy.py PORT [--name NAME]

Each peer address is one flow; each flow has one upstream socket that carries its records on."""
import argparse, ctypes, ipaddress, os, selectors, socket, struct, time

LEVEL, RECORDS, CONTEXT, PEER = 0x4854, 1, 2, 5
IDLE_SECONDS, MOST_FLOWS = 60, 500
LIBC = ctypes.CDLL(None, use_errno=True)


def query(sock, option):
    value, length = ctypes.create_string_buffer(4096), ctypes.c_uint(4096)
    if LIBC.getsockopt(sock.fileno(), LEVEL, option, value, ctypes.byref(length)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return value.raw[:length.value]


def sockaddr(family, peer):
    head = struct.pack("=H", family) + struct.pack("!H", peer[1])
    if family == socket.AF_INET:
        return head + socket.inet_pton(family, peer[0]) + bytes(8)
    return head + bytes(4) + socket.inet_pton(family, peer[0].partition("%")[0]) + struct.pack("=I", peer[3])


def describe(listener, peer):
    """Records and context of the flow of `peer`; the choice is this thread's, so nothing comes between."""
    listener.setsockopt(LEVEL, PEER, sockaddr(listener.family, peer))
    try:
        return query(listener, RECORDS), query(listener, CONTEXT)
    finally:
        LIBC.setsockopt(listener.fileno(), LEVEL, PEER, None, 0)


def dial(records, context):
    ip = ipaddress.IPv6Address(context[56:72])
    host, port = str(ip.ipv4_mapped or ip), int.from_bytes(context[88:90], "big")
    family = socket.AF_INET if ip.ipv4_mapped else socket.AF_INET6
    upstream = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        upstream.setsockopt(LEVEL, RECORDS, records)
        if device := struct.unpack_from("=I", records, 76)[0]:
            upstream.setsockopt(socket.SOL_SOCKET, 62, device)  # SO_BINDTOIFINDEX
        upstream.connect((host, port))
    except OSError:
        upstream.close()
        raise
    return upstream, f"{host}:{port}"


class Proxy:
    def __init__(self, name, port):
        self.name, self.flows, self.selector = name, {}, selectors.DefaultSelector()
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            listener = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            listener.bind((host, port))
            self.selector.register(listener, selectors.EVENT_READ, None)

    def run(self):
        while True:
            for key, _ in self.selector.select(timeout=IDLE_SECONDS / 4):
                if key.data is None:
                    self.from_client(key.fileobj)
                else:
                    self.from_remote(key.fileobj, *key.data)
            self.forget_idle()

    def from_client(self, listener):
        try:
            data, peer = listener.recvfrom(65535)
            flow = self.flows.get((listener, peer)) or self.open(listener, peer)
            flow["used"] = time.monotonic()
            flow["upstream"].send(data)
        except OSError as error:  # a lost datagram, as UDP has them
            print(f"{self.name}: {error}", flush=True)

    def open(self, listener, peer):
        records, context = describe(listener, peer)
        upstream, destination = dial(records, context)
        pid, uid = struct.unpack_from("=II", context, 16)
        print(f"{self.name}: hop {context[5]}: pid {pid}, uid {uid} -> {destination} (peer {peer[0]})", flush=True)
        while len(self.flows) >= MOST_FLOWS:
            self.forget(min(self.flows, key=lambda key: self.flows[key]["used"]))
        flow = self.flows[listener, peer] = {"upstream": upstream, "used": time.monotonic()}
        self.selector.register(upstream, selectors.EVENT_READ, (listener, peer))
        return flow

    def from_remote(self, upstream, listener, peer):
        if (listener, peer) not in self.flows:
            return  # forgotten in this very round
        self.flows[listener, peer]["used"] = time.monotonic()
        try:
            listener.sendto(upstream.recv(65535), peer)
        except OSError as error:  # for instance: nobody listens at the destination
            print(f"{self.name}: {error}", flush=True)

    def forget(self, key):
        upstream = self.flows.pop(key)["upstream"]
        self.selector.unregister(upstream)
        upstream.close()

    def forget_idle(self):
        oldest = time.monotonic() - IDLE_SECONDS
        for key in [key for key, flow in self.flows.items() if flow["used"] < oldest]:
            self.forget(key)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="inspecting UDP proxy for a Hoptrail provider")
    parser.add_argument("port", type=int)
    parser.add_argument("--name", default="udp-proxy", help="first word of each log line")
    options = parser.parse_args()
    try:
        Proxy(options.name, options.port).run()
    except KeyboardInterrupt:
        pass
