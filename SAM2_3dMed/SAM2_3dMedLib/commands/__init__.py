"""The commands of `sam2-3dmed`, one file each: input and output; the work is done by the other packages."""

from ..threads import let_waiting_threads_sleep

let_waiting_threads_sleep()  # here, since every command is imported after this and torch with it
