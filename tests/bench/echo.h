/* The echo work of the bench: a load generator in a process of its own, and the bare libuv server
 * that a cell's is held against. */
#ifndef ECHO_H
#define ECHO_H

#include <uv.h>

typedef struct {
    double messages, user_ns, wall_ns;
} echo_result_t;

/* Forks a client that plays ping-pong with 64-byte messages on `connections` sockets to a loopback
 * port for `seconds`. Returns its pid; *pipe_fd will carry how many replies it got, as a double. */
int echo_client_start(int port, int connections, double seconds, int *pipe_fd);
/* Waits for the client; how many replies it got. */
double echo_client_finish(int pid, int pipe_fd);
/* Listens with a bare echo server on the loop; returns the port. */
int echo_server_open(uv_loop_t *loop);
void echo_server_close(uv_loop_t *loop);
/* The same server as a program: prints its port and serves until it is killed. */
int echo_serve(void);
/* User CPU time of this process. */
double echo_user_ns(void);

#endif
