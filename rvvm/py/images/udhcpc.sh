#!/bin/sh
# udhcpc calls this when a lease comes or goes: the reason in $1, the rest in its environment.
case $1 in
    deconfig)
        ifconfig "$interface" 0.0.0.0 up
        ;;
    bound | renew)
        ifconfig "$interface" "$ip" netmask "${subnet:-255.255.255.0}"
        for gateway in $router; do # the first is to be preferred (RFC 2132, section 3.5)
            ip route replace default via "$gateway" dev "$interface"
            break
        done
        {
            [ -z "$domain" ] || echo "search $domain"
            for server in $dns; do
                echo "nameserver $server"
            done
        } > /etc/resolv.conf
        echo "$interface is $ip, by way of ${router:-no router}; names by ${dns:-nobody}"
        ;;
esac
