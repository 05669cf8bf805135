//! A process with a store is killed between any two packets, and the next one goes on where it was.

use crate::script::scripts;

scripts! {
    both pub_killed_while_offline_publishes_what_it_accepted:
        "pub -t t -l -q 1 -c -i me --store $STORE --report" => "
        accept
        ? 10
        in a
        in b
        out {\"n\":1,\"event\":\"accepted\",\"packet_id\":null,\"reason\":null}
        out {\"n\":2,\"event\":\"accepted\",\"packet_id\":null,\"reason\":null}
        kill
        again pub -t t -l -q 1 -c -i me --store $STORE
        eof
        connect
        < 32 { <t> 0001 «{}» 'a' }
        < 32 { <t> 0002 «{}» 'b' }
        > 40 { 0001 } 40 { 0002 }
        bye
        exit 0";
    both pub_killed_after_publish_sends_it_again_with_dup:
        "pub -t t -l -q 1 -c -i me --store $STORE" => "
        in m
        connect
        < 32 { <t> 0001 «{}» 'm' }
        kill
        again
        eof
        connect 01
        < 3a { <t> 0001 «{}» 'm' }
        > 40 { 0001 }
        bye
        exit 0";
    both pub_killed_after_puback_has_nothing_left:
        "pub -t t -l -q 1 -c -i me --store $STORE" => "
        in m
        connect
        < 32 { <t> 0001 «{}» 'm' }
        > 40 { 0001 }
        gone \"type\":\"message\"
        kill
        again
        eof
        connect 01
        bye
        exit 0";
    both pub_killed_after_publish_sends_qos_2_again_with_dup:
        "pub -t t -l -q 2 -c -i me --store $STORE" => "
        in m
        connect
        < 34 { <t> 0001 «{}» 'm' }
        kill
        again
        eof
        connect 01
        < 3c { <t> 0001 «{}» 'm' }
        > 50 { 0001 }
        < 62 { 0001 }
        > 70 { 0001 }
        bye
        exit 0";
    both pub_killed_after_pubrel_sends_pubrel_again:
        "pub -t t -l -q 2 -c -i me --store $STORE" => "
        in m
        connect
        < 34 { <t> 0001 «{}» 'm' }
        > 50 { 0001 }
        < 62 { 0001 }
        kill
        again
        eof
        connect 01
        < 62 { 0001 }
        > 70 { 0001 }
        bye
        exit 0";
    both pub_killed_after_pubcomp_has_nothing_left:
        "pub -t t -l -q 2 -c -i me --store $STORE" => "
        in m
        connect
        < 34 { <t> 0001 «{}» 'm' }
        > 50 { 0001 }
        < 62 { 0001 }
        > 70 { 0001 }
        gone \"type\":\"message\"
        kill
        again
        eof
        connect 01
        bye
        exit 0";
    both killed_pub_keeps_the_order_of_everything:
        "pub -t t -l -q 2 -c -i me --store $STORE --max-inflight 3" => "
        in a
        in b
        in c
        in d
        in e
        connect
        < 34 { <t> 0001 «{}» 'a' }
        < 34 { <t> 0002 «{}» 'b' }
        < 34 { <t> 0003 «{}» 'c' }
        > 50 { 0002 }
        < 62 { 0002 }
        silence 100
        kill
        again
        in f
        eof
        connect 01
        < 3c { <t> 0001 «{}» 'a' }
        < 62 { 0002 }
        < 3c { <t> 0003 «{}» 'c' }
        silence 50
        > 70 { 0002 }
        < 34 { <t> 0004 «{}» 'd' }
        > 50 { 0001 } 50 { 0003 }
        < 62 { 0001 }
        < 62 { 0003 }
        > 70 { 0001 } 70 { 0003 }
        < 34 { <t> 0005 «{}» 'e' }
        < 34 { <t> 0006 «{}» 'f' }
        > 50 { 0004 } 50 { 0005 } 50 { 0006 }
        < 62 { 0004 }
        < 62 { 0005 }
        < 62 { 0006 }
        > 70 { 0004 } 70 { 0005 } 70 { 0006 }
        bye
        exit 0";
    both killed_pub_sends_as_new_what_a_lost_session_had:
        "pub -t t -l -q 2 -c -i me --store $STORE" => "
        in a
        in b
        connect
        < 34 { <t> 0001 «{}» 'a' }
        < 34 { <t> 0002 «{}» 'b' }
        > 50 { 0001 }
        < 62 { 0001 }
        kill
        again
        in c
        eof
        connect 00
        < 34 { <t> 0003 «{}» 'a' }
        < 34 { <t> 0004 «{}» 'b' }
        < 34 { <t> 0005 «{}» 'c' }
        > 50 { 0003 } 50 { 0004 } 50 { 0005 }
        < 62 { 0003 }
        < 62 { 0004 }
        < 62 { 0005 }
        > 70 { 0003 } 70 { 0004 } 70 { 0005 }
        bye
        exit 0";
    both second_kill_changes_nothing:
        "pub -t t -l -q 2 -c -i me --store $STORE" => "
        in m
        connect
        < 34 { <t> 0001 «{}» 'm' }
        kill
        again
        connect 01
        < 3c { <t> 0001 «{}» 'm' }
        kill
        again
        accept
        ? 10
        kill
        again
        eof
        connect 01
        < 3c { <t> 0001 «{}» 'm' }
        > 50 { 0001 }
        < 62 { 0001 }
        > 70 { 0001 }
        bye
        exit 0";
    both sub_killed_before_the_publish_is_not_subscribed_again:
        "sub -t t -q 1 -c -i me --store $STORE -C 1" => "
        connect
        < 82 { 0001 «{}» <t> 01 }
        > 90 { 0001 «{}» 01 }
        kept \"granted\":1
        kill
        again
        connect 01
        silence 150
        > 32 { <t> 0001 «{}» 'm' }
        out m
        < 40 { 0001 }
        bye
        exit 0";
    both sub_killed_before_suback_asks_again:
        "sub -t t -q 1 -c -i me --store $STORE -E" => "
        connect
        < 82 { 0001 «{}» <t> 01 }
        kill
        again
        connect 01
        < 82 { 0001 «{}» <t> 01 }
        > 90 { 0001 «{}» 01 }
        bye
        exit 0";
    both sub_killed_in_a_lost_session_is_subscribed_again:
        "sub -t t -q 1 -c -i me --store $STORE -E" => "
        connect
        < 82 { 0001 «{}» <t> 01 }
        > 90 { 0001 «{}» 01 }
        kill
        again
        connect 00
        < 82 { 0001 «{}» <t> 01 }
        > 90 { 0001 «{}» 01 }
        bye
        exit 0";
    both sub_killed_after_pubrec_does_not_print_again:
        "sub -t t -q 2 -c -i me --store $STORE" => "
        connect
        ? 82
        > 90 { 0001 «{}» 02 } 34 { <t> 0005 «{}» 'm' }
        out m
        < 50 { 0005 }
        kill
        again sub -t t -q 2 -c -i me --store $STORE -C 1
        connect 01
        > 3c { <t> 0005 «{}» 'm' }
        < 50 { 0005 }
        > 62 { 0005 }
        < 70 { 0005 }
        > 34 { <t> 0005 «{}» 'n' }
        out n
        < 50 { 0005 }
        > 62 { 0005 }
        < 70 { 0005 }
        bye
        exit 0";
    both sub_killed_after_pubrel_answers_it_again:
        "sub -t t -q 2 -c -i me --store $STORE" => "
        connect
        ? 82
        > 90 { 0001 «{}» 02 } 34 { <t> 0005 «{}» 'm' }
        out m
        < 50 { 0005 }
        > 62 { 0005 }
        < 70 { 0005 }
        gone \"type\":\"received\"
        kill
        again sub -t t -q 2 -c -i me --store $STORE -C 1
        connect 01
        > 62 { 0005 }
        < 70 { 0005 «92» }
        > 34 { <t> 0005 «{}» 'n' }
        out n
        < 50 { 0005 }
        > 62 { 0005 }
        < 70 { 0005 }
        bye
        exit 0";
    both sub_killed_before_pubrel_takes_it_up:
        "sub -t t -q 2 -c -i me --store $STORE" => "
        connect
        ? 82
        > 90 { 0001 «{}» 02 } 34 { <t> 0005 «{}» 'm' }
        out m
        < 50 { 0005 }
        kill
        again sub -t t -q 2 -c -i me --store $STORE -C 1
        connect 01
        > 62 { 0005 } 34 { <t> 0006 «{}» 'n' }
        < 70 { 0005 }
        out n
        < 50 { 0006 }
        > 62 { 0006 }
        < 70 { 0006 }
        bye
        exit 0";
    both killed_sub_forgets_ids_with_the_session:
        "sub -t t -q 2 -c -i me --store $STORE" => "
        connect
        ? 82
        > 90 { 0001 «{}» 02 } 34 { <t> 0005 «{}» 'm' }
        out m
        < 50 { 0005 }
        kill
        again sub -t t -q 2 -c -i me --store $STORE -C 1
        connect 00
        < 82 { 0001 «{}» <t> 02 }
        > 90 { 0001 «{}» 02 } 34 { <t> 0005 «{}» 'n' }
        out n
        < 50 { 0005 }
        > 62 { 0005 }
        < 70 { 0005 }
        bye
        exit 0";
    both other_filter_of_the_next_process_is_subscribed_alone:
        "sub -t a -q 1 -c -i me --store $STORE -E" => "
        connect
        < 82 { 0001 «{}» <a> 01 }
        > 90 { 0001 «{}» 01 }
        bye
        exit 0
        again sub -t a -t b -q 1 -c -i me --store $STORE -E
        connect 01
        < 82 { 0001 «{}» <b> 01 }
        > 90 { 0001 «{}» 01 }
        bye
        exit 0";
}
