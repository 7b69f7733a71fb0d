#!/bin/sh
# The keeper of a server's folder: starts the server when it is told to, and ends it and removes the
# folder at the end of its input, which is also the death of the process that held the other end.
#
#   $1  the folder
#   $2  the signal that asks the server to end in good order
#   $3  empty, or something if the folder has to stay
#
# Each line of input is a command to start, answered by the id of its process. An empty line says
# that the server ends, answered by an empty line when it has.
folder=$1 ending=$2 stays=$3 server=
exec 2>>"$folder/log"

# The system hangs up on a group with a frozen process when the parent of the group dies.
trap '' HUP INT

while IFS= read -r command; do
    if [ -n "$command" ]; then
        eval "exec $command" >>"$folder/log" 2>&1 </dev/null &
        server=$!
        echo "$server"
    else
        wait "$server"
        server=
        echo
    fi
done

if [ -n "$server" ]; then
    # PostgreSQL does not end while its children are frozen.
    set -- "$server"
    # shellcheck disable=SC2013 # There are no spaces in these names.
    for status in $(grep -ls "^PPid:[[:space:]]*$server\$" /proc/[0-9]*/status); do
        status=${status#/proc/}
        set -- "$@" "${status%/status}"
    done
    kill -CONT "$@" 2>/dev/null
    tries=0
    while kill -0 "$server" 2>/dev/null && [ $tries -lt 300 ]; do
        # Once is not enough: Redis refuses while it writes its first file.
        [ $((tries % 50)) != 0 ] || kill "-$ending" "$server" 2>/dev/null
        [ $tries != 150 ] || kill -KILL "$@" 2>/dev/null
        tries=$((tries + 1))
        sleep 0.02
    done
fi
[ -n "$stays" ] || rm -rf "$folder" || { sleep 1; rm -rf "$folder"; }
