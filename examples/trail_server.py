#!/usr/bin/env python3
"""A destination that reads the trail from the PROXY protocol, version 2, and answers with it as JSON: written from
docs/proxy-protocol.md alone. python3 trail_server.py ADDRESS PORT"""
import ipaddress, json, socketserver, struct, sys

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
APPLICATION = struct.Struct("!BBBxIIIQQQQIHH16s16s16s")
HOP = struct.Struct("!BBBxI8sQII16s16s16sHHH")


def endpoint(ip, port):
    ip = ipaddress.IPv6Address(ip)
    return f"{ip.ipv4_mapped}:{port}" if ip.ipv4_mapped else f"[{ip}]:{port}"


def application(value):
    (version, protocol, hops, pid, uid, gid, start, start_ns, cgroup, inode, device, local_port, asked_port, local,
     asked, name) = APPLICATION.unpack_from(value)
    assert version == 1
    return {"protocol": protocol, "hops": hops, "pid": pid, "uid": uid, "start_ns": start_ns,
            "local": endpoint(local, local_port), "asked": endpoint(asked, asked_port),
            "name": name.rstrip(b"\0").decode(), "exe": value[APPLICATION.size:].decode()}


def hop(value):
    (version, number, provenance, filter_number, provider, time, pid, uid, source, asked, to, from_port, asked_port,
     to_port) = HOP.unpack_from(value)
    assert version == 1
    return {"number": number, "provenance": provenance, "filter": filter_number, "provider": provider.hex(),
            "time": time, "pid": pid, "uid": uid, "from": endpoint(source, from_port),
            "asked": endpoint(asked, asked_port), "to": endpoint(to, to_port)}


def story(stream):
    head = stream.read(16)
    if head[:12] != SIGNATURE or head[12] != 0x21:
        return {"error": "no PROXY protocol header of version 2"}
    (length,) = struct.unpack("!H", head[14:])
    body = stream.read(length)
    size = 4 if head[13] == 0x11 else 16
    source, to = (ipaddress.ip_address(body[i * size:(i + 1) * size]) for i in (0, 1))
    ports = struct.unpack_from("!HH", body, 2 * size)
    told = {"source": f"{source} {ports[0]}", "destination": f"{to} {ports[1]}", "hops": []}
    at = 2 * size + 4
    while at + 3 <= length:
        kind, bytes_ = struct.unpack_from("!BH", body, at)
        value, at = body[at + 3:at + 3 + bytes_], at + 3 + bytes_
        if kind == 0x05:
            told["id"] = value.decode()
        elif kind == 0xe0:
            told["application"] = application(value)
        elif kind == 0xe1:
            told["hops"].append(hop(value))
    return told


class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(json.dumps(story(self.rfile)).encode() + b"\n")


if __name__ == "__main__":
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer((sys.argv[1], int(sys.argv[2])), Answer).serve_forever()
