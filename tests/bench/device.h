/* A device that answers over TCP: what a robot's controller is to a cell, but for its protocol.
 *
 *   request, 12 bytes: uint32 number, double took_ns   (of the reply before: seen so late; 0: none)
 *   reply, 32 bytes:   double stamp_ns, number, x, y   (stamp: CLOCK_MONOTONIC, before the write)
 *
 * One request is in flight. The device answers after a delay that runs through a whole frame of
 * 60 Hz, evenly and in an order that no frame can follow: so all phases of a loop are met alike. */
#ifndef DEVICE_H
#define DEVICE_H

#include <stddef.h>
#include <stdint.h>

enum { DEVICE_WARM_UP = 20 }; /* replies that are not counted, the first ones */

typedef struct {
    int pid, alive; /* alive: the reading end of a pipe that hangs up when the process ends */
} device_peer_t;

typedef struct {
    double cpu_ns, wall_ns; /* of the peer while the replies that count were made */
    size_t count;
} device_result_t;

/* Listens on a free loopback port; the socket, or -1. */
int device_open(int *port);
/* CPU time of a process, user and system, with all its threads; NAN: there is none. */
double device_cpu_ns(int pid);
/* Serves one connection of the peer: `count` replies after those of the warm-up, delays from the
 * first-th on. took_ns[i] is what the peer told of each. 0, or -1: the peer did not connect, fell
 * silent for five seconds, or ended; result->count says after how many. */
int device_serve(int listener, const device_peer_t *peer, size_t count, size_t first,
                 double *took_ns, device_result_t *result);

#endif
