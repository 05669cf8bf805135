//! Flow control and the server's limits.

use crate::script::scripts;

scripts! {
    v5 receive_maximum_of_the_server_is_kept: "pub -t t -l -q 1" => "
        in a
        in b
        in c
        eof
        accept
        ? 10
        > 20 { 00 00 { 21 0002 } }
        < 32 { <t> 0001 {} 'a' }
        < 32 { <t> 0002 {} 'b' }
        silence 200
        > 40 { 0001 }
        ? 32
        > 40 { 0002 } 40 { 0003 }
        bye
        exit 0";
    both own_limit_of_messages_in_flight: "pub -t t -l -q 1 --max-inflight 1" => "
        in a
        in b
        eof
        connect
        < 32 { <t> 0001 «{}» 'a' }
        silence 200
        > 40 { 0001 }
        ? 32
        > 40 { 0002 }
        bye
        exit 0";
    both pubrec_gives_no_quota_back: "pub -t t -l -q 2 --max-inflight 1" => "
        in a
        in b
        eof
        connect
        ? 34
        > 50 { 0001 }
        < 62 { 0001 }
        silence 200
        > 70 { 0001 }
        ? 34
        > 50 { 0002 }
        ? 62
        > 70 { 0002 }
        bye
        exit 0";
    v5 refused_pubrec_gives_quota_back: "pub -t t -l -q 2 --max-inflight 1" => "
        in a
        in b
        eof
        connect
        ? 34
        > 50 { 0001 99 }
        ? 34
        > 50 { 0002 }
        ? 62
        > 70 { 0002 }
        bye
        exit 153";
    both qos_0_does_not_wait_for_quota: "pub -t t -l --max-inflight 1" => "
        in a
        in b
        eof
        connect
        < 30 { <t> «{}» 'a' }
        < 30 { <t> «{}» 'b' }
        bye
        exit 0";
    both replay_keeps_the_quota:
        "pub -t t -l -q 1 -c -i me --max-inflight 2 --reconnect-initial-ms 10" => "
        in a
        in b
        in c
        eof
        connect
        ? 32
        ? 32
        close
        connect 01
        < 3a { <t> 0001 «{}» 'a' }
        < 3a { <t> 0002 «{}» 'b' }
        silence 200
        > 40 { 0001 }
        ? 32
        > 40 { 0002 } 40 { 0003 }
        bye
        exit 0";
    v5 replay_keeps_the_quota_of_the_new_connection:
        "pub -t t -l -q 1 -c -i me --reconnect-initial-ms 10" => "
        in a
        in b
        in c
        eof
        connect
        ? 32
        ? 32
        ? 32
        close
        accept
        ? 10
        > 20 { 01 00 { 21 0001 } }
        < 3a { <t> 0001 {} 'a' }
        silence 100
        > 40 { 0001 }
        < 3a { <t> 0002 {} 'b' }
        silence 100
        > 40 { 0002 }
        < 3a { <t> 0003 {} 'c' }
        > 40 { 0003 }
        bye
        exit 0";
    v5 larger_message_among_others_does_not_stop_them: "pub -t t -l -q 1" => "
        in a
        in 0123456789
        in b
        eof
        accept
        ? 10
        > 20 { 00 00 { 27 00000010 } }
        < 32 { <t> 0001 {} 'a' }
        < 32 { <t> 0002 {} 'b' }
        > 40 { 0001 } 40 { 0002 }
        bye
        exit 1 message 2, topic t";
    v5 message_too_large_for_the_new_connection_is_given_up:
        "pub -t t -m 0123456789 -q 1 -c -i me --reconnect-initial-ms 10" => "
        connect
        ? 32
        close
        accept
        ? 10
        > 20 { 01 00 { 27 00000010 } }
        bye
        exit 1 message 1, topic t";
    v5 message_larger_than_the_server_takes_is_not_sent: "pub -t t -m 0123456789 -q 1" => "
        accept
        ? 10
        > 20 { 00 00 { 27 00000010 } }
        bye
        exit 1 message 1, topic t";
    v5 message_as_large_as_the_server_takes_is_sent: "pub -t t -m 012345 -q 1" => "
        accept
        ? 10
        > 20 { 00 00 { 27 0000000e } }
        < 32 { <t> 0001 {} '012345' }
        > 40 { 0001 }
        bye
        exit 0";
    v5 level_that_the_server_lacks_is_not_sent: "pub -t t -m m -q 2" => "
        accept
        ? 10
        > 20 { 00 00 { 24 01 } }
        bye
        exit 1";
    v5 retained_message_that_the_server_lacks_is_not_sent: "pub -t t -m m -r" => "
        accept
        ? 10
        > 20 { 00 00 { 25 00 } }
        bye
        exit 1";
    v5 alias_above_the_servers_maximum_is_not_sent: "pub -t t -m m -D publish topic-alias 3" => "
        accept
        ? 10
        > 20 { 00 00 { 22 0002 } }
        bye
        exit 1 alias 3";
    v5 alias_within_the_servers_maximum_is_sent: "pub -t t -m m -D publish topic-alias 2" => "
        accept
        ? 10
        > 20 { 00 00 { 22 0002 } }
        < 30 { <t> { 23 0002 } 'm' }
        bye
        exit 0";
    v5 more_than_our_receive_maximum_is_a_fault: "sub -t t -q 2 --receive-maximum 1 --no-reconnect" => "
        connect
        ? 82
        > 90 { 0001 {} 02 } 34 { <t> 0001 {} 'a' }
        out a
        < 50 { 0001 }
        > 34 { <t> 0002 {} 'b' }
        < e0 { 93 }
        end
        exit 1";
    v5 larger_than_our_maximum_is_a_fault: "sub -t t --max-packet-size 30 --no-reconnect" => "
        connect
        ? 82
        > 90 { 0001 {} 00 } 30 { <t> {} '0123456789012345678901234567890' }
        < e0 { 95 }
        end
        exit 1";
    v311 larger_than_our_maximum_closes: "sub -t t --max-packet-size 30 --no-reconnect" => "
        connect
        ? 82
        > 90 { 0001 00 } 30 { <t> '0123456789012345678901234567890' }
        end
        exit 1";
    v5 server_keep_alive_is_used: "sub -t t -k 600 -W 10 -C 1" => "
        accept
        ? 10
        > 20 { 00 00 { 13 0002 } }
        ? 82
        > 90 { 0001 {} 00 }
        < c0 {}
        > d0 {} 30 { <t> {} 'm' }
        out m
        bye
        exit 0";
}
