//! Pings, and connections that are dead without saying so.

use crate::script::scripts;

scripts! {
    both idle_connection_is_pinged: "sub -t t -k 2 -C 1" => "
        connect
        ? 82
        > 90 { 0001 «{}» 00 }
        < c0 {}
        > d0 {}
        < c0 {}
        > d0 {} 30 { <t> «{}» 'm' }
        out m
        bye
        exit 0";
    both missing_pingresp_is_a_lost_connection: "sub -t t -k 1 --no-reconnect" => "
        connect
        ? 82
        > 90 { 0001 «{}» 00 }
        < c0 {}
        end
        exit 1";
    both keep_alive_off_sends_no_ping: "sub -t t -k 0 -W 3" => "
        connect
        ? 82
        > 90 { 0001 «{}» 00 }
        bye
        exit 27";
    both publisher_that_waits_is_pinging: "pub -t t -m m -q 1 -k 2" => "
        connect
        ? 32
        < c0 {}
        > d0 {} 40 { 0001 }
        bye
        exit 0";
}
