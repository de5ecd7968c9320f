/* stator ctl: asks a running host on its control socket and shows the answer. */
#ifndef CTL_H
#define CTL_H

/* `words` after "ctl": SOCKET COMMAND [ARGUMENT] [--json]. Returns the exit code: 0, 1 when the
 * host cannot be asked or refuses, 2 for wrong usage. */
int ctl_main(int count, char **words);

#endif
