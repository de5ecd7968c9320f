# A Modbus TCP server that was not written here: python3-pymodbus 3.0 of Debian 12. Prints its port.
# Values: coil i on when i is odd, discrete input i on when i % 3 == 0, holding register i = i * 2,
# input register i = i + 1000. Ends by itself after two minutes.
#
# --port N     instead of a free one
# --still      all discrete inputs are off
# --log FILE   all that pymodbus itself logs, each line with its time: connections, requests, replies
# --seconds S  it ends after so long
import argparse
import asyncio
import logging
import socket

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server import StartAsyncTcpServer


def block(value):
    return ModbusSequentialDataBlock(0, [value(i) for i in range(1000)])


async def main(options):
    port = options.port
    if port == 0:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    store = ModbusSlaveContext(
        co=block(lambda i: i % 2 == 1), di=block(lambda i: i % 3 == 0 and not options.still),
        hr=block(lambda i: i * 2), ir=block(lambda i: i + 1000), zero_mode=True)
    server = asyncio.ensure_future(StartAsyncTcpServer(
        context=ModbusServerContext(slaves=store, single=True), address=("127.0.0.1", port), allow_reuse_address=True))
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            break
        except OSError:
            await asyncio.sleep(0.01)
    print(port, flush=True)
    await asyncio.sleep(options.seconds)
    server.cancel()


parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--still", action="store_true")
parser.add_argument("--log")
parser.add_argument("--seconds", type=float, default=120)
given = parser.parse_args()
if given.log:
    logging.basicConfig(filename=given.log, format="%(created).6f %(message)s", level=logging.DEBUG,
                        force=True)  # in the place of what importing it has set up
asyncio.run(main(given))
