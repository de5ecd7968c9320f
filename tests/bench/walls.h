/* What each wall costs, on worlds of their own: with and without it, in the same run. */
#ifndef WALLS_H
#define WALLS_H

/* ns per round of: a view is taken, one set is applied, what was handed out expires. `walls` as in
 * ecs_options_t; the world has `rows` rows of three doubles. -1: a call failed. */
double walls_round_ns(unsigned walls, unsigned rows, unsigned rounds);
/* ns per write phase in which one row is written. */
double walls_write_ns(unsigned walls, unsigned rows, unsigned rounds);

#endif
