# Runs a throw-away PostgreSQL server and removes it when its owner is gone.
#
# Arguments: the directory of PostgreSQL's programs, then the directories to try for the cluster's
# own. Orders come on stdin, each answered by one line "= VALUE" on stdout; a line "exited" follows
# each start, when the last process of that server is gone. The end of stdin is the last order: the
# kernel delivers it however the owner ended, so nothing is left behind after SIGKILL either.
#
# No command below may wait without a bound while the owner lives, or that end would go unseen.

# The owner's terminal must not stop us before we have stopped the server.
trap '' HUP INT QUIT TERM PIPE
umask 077

programs=$1
shift
directory= server= watcher= paused=

for base; do
    directory=$(mktemp -d "$base/alle.XXXXXX") && break
    directory=
done
if [ -z "$directory" ] || ! mkfifo "$directory/alive"; then
    echo "="
    exit 1
fi
echo "= $directory"

while read -r order arguments; do
    answer=
    case $order in
    initialize)
        # -A, -E and -N: trust, encoding and "do not sync".
        "$programs/initdb" -D "$directory/data" -U postgres -A trust -E UTF8 --locale=C -N \
            </dev/null >"$directory/initdb.log" 2>&1
        answer=$?
        ;;
    copy)
        # The files of a cluster without a server, or of one that stopped in order.
        cp -R "$arguments" "$directory/data" 2>"$directory/copy.log"
        answer=$?
        ;;
    stand-by)
        : >"$directory/data/standby.signal"
        answer=$?
        ;;
    start)
        # Every process of the server inherits descriptor 3: the reader of the FIFO sees its end
        # when the last one is gone, which waiting for the postmaster alone does not tell.
        { cat "$directory/alive" >/dev/null; echo exited; } &
        watcher=$!
        # -F: no fsync. Dynamic shared memory in files goes with the directory, even after SIGKILL.
        "$programs/postgres" -D "$directory/data" -h 127.0.0.1 -p "$arguments" -k "$directory" \
            -F -N 200 -c full_page_writes=off -c dynamic_shared_memory_type=mmap \
            </dev/null >>"$directory/log" 2>&1 3>"$directory/alive" &
        server=$!
        answer=$server
        ;;
    pause)
        paused="$paused $arguments"
        kill -s STOP $arguments
        ;;
    resume)
        kill -s CONT $paused
        paused=
        ;;
    signal)
        kill -s $arguments
        ;;
    reap)
        wait "$watcher"
        wait "$server"
        answer=$?
        server= paused=
        ;;
    esac
    echo "= $answer"
done

if [ -n "$server" ]; then
    [ -z "$paused" ] || kill -s CONT $paused
    kill -s QUIT "$server"
    # A postmaster that has not installed its signal dispositions yet ignores SIGQUIT; its children
    # leave by themselves when it is gone.
    {
        trap 'kill "$nap"; exit' TERM
        sleep 5 &
        nap=$!
        wait "$nap"
        kill -s KILL "$server"
    } &
    watchdog=$!
    wait "$watcher"
    kill -s TERM "$watchdog"
    wait
fi

# A server killed by SIGKILL leaves its System V segment, named in the seventh line of the file.
if [ -f "$directory/data/postmaster.pid" ]; then
    segment=$(sed -n '7s/.* //p' "$directory/data/postmaster.pid")
    [ -z "$segment" ] || ipcrm -m "$segment"
fi
rm -rf "$directory"
