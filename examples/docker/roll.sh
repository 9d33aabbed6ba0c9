#!/bin/sh
# Replaces all replicas of a service, such as after a change of its image, and loses no request:
# new ones are started beside the old ones, and the old ones stop when the new ones take flows.
#
#     ./roll.sh web
#
# COMPOSE and WEIR are what to call, if that is not `docker compose` and `weir docker ls`.
set -eu
service=$1
compose=${COMPOSE:-docker compose}
weir=${WEIR:-weir docker ls}

old=$($compose ps -q "$service")
count=$(echo "$old" | wc -w)
$compose up -d --no-recreate --scale "$service=$((count * 2))" "$service"
while [ "$($weir | grep -c "published  *$service ")" -lt $((count * 2)) ]; do
    sleep 1
done
docker stop $old
docker rm $old
