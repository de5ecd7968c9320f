/* Peers of the bench that are programs of their own: started, given work and measured from outside.
 *
 *   echo:   the program prints its port and echoes; the client of echo.h plays against it
 *   reply:  the program connects to the device of device.h, stores each reply, and tells how long
 *           after the device's stamp the value could be read in its world
 *
 * A peer that has been started dies with the bench. Thread: the bench's. */
#ifndef PEERS_H
#define PEERS_H

#include <lua.h>

/* Registers as globals:
 *   bench_self() -> the path of this program
 *   bench_peer_start(command) -> pid, the first line that it prints; or nil, why not
 *   bench_peer_pause(pid, paused): a peer that waits for its turn takes no time from others
 *   bench_peer_echo(pid, port, connections, seconds) -> messages, user ns in all
 *   bench_peer_cpu(pid) -> CPU ns, user and system
 *   bench_peer_replies(command, count, first) -> ns of each reply, CPU ns in all, wall ns in all;
 *     or nil, why not. The device's port is added to the command; `first` shifts its delays.
 *   bench_peer_stop(pid) */
void peers_register(lua_State *L);

#endif
