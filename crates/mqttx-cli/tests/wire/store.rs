//! Stores that cannot be used, that are damaged, and that two processes want.

use crate::script::scripts;

scripts! {
    both store_in_use_by_another_process_is_an_error:
        "pub -t t -l -q 1 -c -i me --store $STORE" => "
        connect
        also 1 pub -t t -m x -q 1 -c -i me --store $STORE
        also 1 pub -t t -m x -q 1 -c -i other --store $STORE
        in m
        < 32 { <t> 0001 «{}» 'm' }
        > 40 { 0001 }
        eof
        bye
        exit 0";
    both store_is_free_after_a_kill:
        "pub -t t -l -q 1 -c -i me --store $STORE" => "
        connect
        kill
        again pub -t t -m m -q 1 -c -i me --store $STORE
        connect 01
        < 32 { <t> 0001 «{}» 'm' }
        > 40 { 0001 }
        bye
        exit 0";
    both store_that_is_a_file_is_an_error:
        "pub -t t -m m -q 1 -c -i me --store file:/dev/null -p $PORT" => "
        exit 1 /dev/null";
    both each_client_id_has_its_own_state:
        "pub -t t -l -q 1 -c -i me --store $STORE" => "
        in m
        connect
        < 32 { <t> 0001 «{}» 'm' }
        kill
        again pub -t t -l -q 1 -c -i other --store $STORE
        eof
        connect
        bye
        exit 0
        again pub -t t -l -q 1 -c -i me --store $STORE
        eof
        connect 01
        < 3a { <t> 0001 «{}» 'm' }
        > 40 { 0001 }
        bye
        exit 0";
    both stopped_pub_leaves_the_rest_to_the_next:
        "pub -t t -l -q 1 -c -i me --store $STORE" => "
        in m
        connect
        < 32 { <t> 0001 «{}» 'm' }
        term
        bye
        exit 1 unacknowledged messages to t: 1, kept in the store
        again
        eof
        connect 01
        < 3a { <t> 0001 «{}» 'm' }
        > 40 { 0001 }
        bye
        exit 0
        again
        eof
        connect 01
        bye
        exit 0";
    both time_that_is_over_leaves_the_rest_to_the_next:
        "pub -t t -m m -q 2 -c -i me --store $STORE --timeout 2" => "
        connect
        ? 34
        < e0 {}
        exit 1 kept in the store
        again pub -t t -l -q 2 -c -i me --store $STORE
        eof
        connect 01
        < 3c { <t> 0001 «{}» 'm' }
        > 50 { 0001 }
        < 62 { 0001 }
        > 70 { 0001 }
        bye
        exit 0";
    both clean_start_makes_everything_new:
        "pub -t t -l -q 2 -c -i me --store $STORE" => "
        in a
        in b
        connect
        ? 34
        ? 34
        > 50 { 0001 }
        < 62 { 0001 }
        kill
        again pub -t t -l -q 2 -i me --store $STORE
        eof
        accept
        < 10 { <MQTT> «05»‹04› 02 003c «{}» <me> }
        > 20 { 00 00 «{}» }
        < 34 { <t> 0003 «{}» 'a' }
        < 34 { <t> 0004 «{}» 'b' }
        > 50 { 0003 } 50 { 0004 }
        < 62 { 0003 }
        < 62 { 0004 }
        > 70 { 0003 } 70 { 0004 }
        bye
        exit 0";
    v5 refusal_of_a_line_is_the_exit_code:
        "pub -t t -l -q 1 -c -i me --store $STORE" => "
        in a
        in b
        eof
        connect
        < 32 { <t> 0001 {} 'a' }
        < 32 { <t> 0002 {} 'b' }
        > 40 { 0001 87 { 1f <no> } } 40 { 0002 }
        bye
        exit 135 topic t: refused: 0x87
        again
        eof
        connect 01
        bye
        exit 0";
    v5 refusal_of_what_an_earlier_process_left_is_the_exit_code:
        "pub -t t -l -q 1 -c -i me --store $STORE" => "
        in a
        connect
        ? 32
        kill
        again pub -t other -m b -q 1 -c -i me --store $STORE
        connect 01
        ? 3a
        > 40 { 0001 97 {} }
        ? 32
        > 40 { 0002 }
        bye
        exit 151 topic t";
    v5 message_above_the_limits_of_the_server_is_an_error_at_the_end:
        "pub -t t -l -q 1 -c -i me --store $STORE" => "
        in a
        in aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        in b
        eof
        accept
        ? 10
        > 20 { 00 00 { 27 00000020 } }
        ? 32
        ? 32
        > 40 { 0001 } 40 { 0002 }
        bye
        exit 1 topic t";
    v5 message_of_mqtt_5_goes_out_as_3_1_1_without_its_properties:
        "pub -V5 -t t -l -q 1 -c -i me --store $STORE -D publish user-property k v" => "
        in m
        connect
        < 32 { <t> 0001 { 26 <k> <v> } 'm' }
        kill
        again pub -V311 -t t -l -q 1 -c -i me --store $STORE
        eof
        accept
        ? 10
        > 20 { 01 00 }
        < 3a { <t> 0001 'm' }
        > 40 { 0001 }
        bye
        exit 0";
    both filter_with_another_qos_is_subscribed_again:
        "sub -t t -q 1 -c -i me --store $STORE -E" => "
        connect
        < 82 { 0001 «{}» <t> 01 }
        > 90 { 0001 «{}» 01 }
        bye
        exit 0
        again sub -t t -q 2 -c -i me --store $STORE -E
        connect 01
        < 82 { 0001 «{}» <t> 02 }
        > 90 { 0001 «{}» 02 }
        bye
        exit 0";
    both filter_of_an_earlier_command_is_not_subscribed_in_a_new_session:
        "sub -t a -t c -q 1 -c -i me --store $STORE -E" => "
        connect
        < 82 { 0001 «{}» <a> 01 <c> 01 }
        > 90 { 0001 «{}» 01 01 }
        bye
        exit 0
        again sub -t b -t c -q 1 -c -i me --store $STORE -C 1
        connect 00
        < 82 { 0001 «{}» <b> 01 <c> 01 }
        > 90 { 0001 «{}» 01 01 }
        close
        connect 00
        < 82 { 0002 «{}» <b> 01 <c> 01 }
        > 90 { 0002 «{}» 01 01 } 32 { <c> 0001 «{}» 'm' }
        out m
        < 40 { 0001 }
        bye
        exit 0";
    both filter_without_an_answer_is_not_subscribed_by_another_command:
        "sub -t a -q 1 -c -i me --store $STORE" => "
        connect
        < 82 { 0001 «{}» <a> 01 }
        kill
        again sub -t b -q 1 -c -i me --store $STORE -E
        connect 01
        < 82 { 0001 «{}» <b> 01 }
        > 90 { 0001 «{}» 01 }
        bye
        exit 0";
    both clean_start_subscribes_what_is_asked_for_alone:
        "sub -t a -q 1 -i me --store $STORE -E" => "
        connect
        < 82 { 0001 «{}» <a> 01 }
        > 90 { 0001 «{}» 01 }
        bye
        exit 0
        again sub -t b -q 1 -i me --store $STORE -E
        connect
        < 82 { 0001 «{}» <b> 01 }
        > 90 { 0001 «{}» 01 }
        bye
        exit 0";
    both filter_of_a_sub_is_not_subscribed_by_a_pub:
        "sub -t a -q 1 -c -i me --store $STORE -E" => "
        connect
        < 82 { 0001 «{}» <a> 01 }
        > 90 { 0001 «{}» 01 }
        bye
        exit 0
        again pub -t b -m m -q 1 -c -i me --store $STORE
        connect 00
        < 32 { <b> 0001 «{}» 'm' }
        > 40 { 0001 }
        bye
        exit 0";
    both message_that_sub_printed_last_is_acknowledged_by_the_next:
        "sub -t t -q 1 -c -i me --store $STORE -C 1" => "
        connect
        ? 82
        > 90 { 0001 «{}» 01 }
        kept \"granted\":1
        kill
        again
        connect 01
        > 3a { <t> 0005 «{}» 'm' }
        out m
        < 40 { 0005 }
        bye
        exit 0";
    both unusable_directory_is_an_error:
        "pub -t t -m m -q 1 -c -i me --store file:/proc/none/x -p $PORT" => "
        exit 1 /proc/none";
    both stopped_pub_keeps_what_it_never_sent:
        "pub -t t -l -q 1 -c -i me --store $STORE --max-inflight 1" => "
        in a
        in b
        in c
        connect
        < 32 { <t> 0001 «{}» 'a' }
        silence 50
        term
        bye
        exit 1 unacknowledged messages to t: 3, kept in the store
        again pub -t t -l -q 1 -c -i me --store $STORE
        eof
        connect 01
        < 3a { <t> 0001 «{}» 'a' }
        < 32 { <t> 0002 «{}» 'b' }
        < 32 { <t> 0003 «{}» 'c' }
        > 40 { 0001 } 40 { 0002 } 40 { 0003 }
        bye
        exit 0";
    both stopped_pub_keeps_what_it_took_in_without_a_connection:
        "pub -t t -l -q 2 -c -i me --store $STORE --report" => "
        accept
        ? 10
        in a
        out {\"n\":1,\"event\":\"accepted\",\"packet_id\":null,\"reason\":null}
        int
        bye
        exit 1 unacknowledged messages to t: 1
        again pub -t t -l -q 2 -c -i me --store $STORE
        eof
        connect
        < 34 { <t> 0001 «{}» 'a' }
        > 50 { 0001 }
        < 62 { 0001 }
        > 70 { 0001 }
        bye
        exit 0";
    both stopped_sub_goes_on_where_it_was:
        "sub -t t -q 2 -c -i me --store $STORE" => "
        connect
        ? 82
        > 90 { 0001 «{}» 02 } 34 { <t> 0005 «{}» 'm' }
        out m
        < 50 { 0005 }
        term
        bye
        exit 0
        again sub -t t -q 2 -c -i me --store $STORE -C 1
        connect 01
        > 3c { <t> 0005 «{}» 'm' }
        < 50 { 0005 }
        > 62 { 0005 } 34 { <t> 0006 «{}» 'n' }
        < 70 { 0005 }
        out n
        < 50 { 0006 }
        > 62 { 0006 }
        < 70 { 0006 }
        bye
        exit 0";
    v5 message_that_expired_while_nobody_ran_is_not_sent:
        "pub -t t -l -q 1 -c -i me --store $STORE -D publish message-expiry-interval 1 --report" => "
        accept
        ? 10
        in a
        out {\"n\":1,\"event\":\"accepted\",\"packet_id\":null,\"reason\":null}
        kill
        absence 1200
        again pub -t t -l -q 1 -c -i me --store $STORE
        in b
        eof
        connect
        < 32 { <t> 0001 {} 'b' }
        > 40 { 0001 }
        bye
        exit 1 expired";
}
