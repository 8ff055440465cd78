#!/usr/bin/env python3
"""An inspecting TCP proxy, written from docs/abi.md alone: python3 python_proxy.py PORT [--name NAME]"""
import argparse, asyncio, ctypes, ipaddress, os, socket, struct

LEVEL, RECORDS, CONTEXT = 0x4854, 1, 2
TASKS = set()  # asyncio itself holds its tasks only weakly
LIBC = ctypes.CDLL(None, use_errno=True)

def query(sock, option):
    value, length = ctypes.create_string_buffer(4096), ctypes.c_uint(4096)
    if LIBC.getsockopt(sock.fileno(), LEVEL, option, value, ctypes.byref(length)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return value.raw[:length.value]

async def dial(ip, port, records):
    upstream = socket.socket(socket.AF_INET if ip.version == 4 else socket.AF_INET6)
    upstream.setblocking(False)
    upstream.setsockopt(LEVEL, RECORDS, records)  # before connect: so every provider gets one turn, and only one
    if device := struct.unpack_from("=I", records, 76)[0]:
        upstream.setsockopt(socket.SOL_SOCKET, 62, device)  # SO_BINDTOIFINDEX
    await asyncio.get_running_loop().sock_connect(upstream, (str(ip), port))
    return await asyncio.open_connection(sock=upstream)

async def pump(reader, writer, inspected):
    while data := await reader.read(65536):
        inspected.extend([] if inspected else [data[:60]])
        writer.write(data)
        await writer.drain()
    writer.write_eof()

async def serve(name, reader, writer):
    TASKS.add(asyncio.current_task())
    ends, line, up, down = [writer], f"{name}:", [], []
    try:
        accepted = writer.get_extra_info("socket")
        records, context = query(accepted, RECORDS), query(accepted, CONTEXT)
        ip, port = ipaddress.IPv6Address(context[56:72]), int.from_bytes(context[88:90], "big")
        path = context[112:112 + struct.unpack_from("=H", context, 92)[0]].decode(errors="replace")
        line += " hop {}: {} (pid {}, uid {})".format(context[5], path, *struct.unpack_from("=II", context, 16))
        line += f" -> {ip.ipv4_mapped or ip} port {port}:"
        up_reader, up_writer = await dial(ip.ipv4_mapped or ip, port, records)
        ends.append(up_writer)
        await asyncio.gather(pump(reader, up_writer, up), pump(up_reader, writer, down))
        line += f" {(up or down or [b''])[0]!r}"
    except OSError as error:  # not redirected, refused or reset: the other end must see a reset as well
        line += f" {error}; reset"
        for end in (end for end in ends if not end.transport.is_closing()):
            end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()
    for end in ends:
        end.close()
    print(line, flush=True)
    TASKS.discard(asyncio.current_task())

async def main():
    parser = argparse.ArgumentParser(description="inspecting TCP proxy for a Hoptrail provider")
    parser.add_argument("port", type=int)
    parser.add_argument("--name", default="python-proxy", help="first word of each log line")
    options = parser.parse_args()
    serve_as = lambda reader, writer: serve(options.name, reader, writer)
    async with await asyncio.start_server(serve_as, ["127.0.0.1", "::1"], options.port, backlog=512) as server:
        await server.serve_forever()

if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
