//! What happens to messages and subscriptions when connections and sessions are lost.

use crate::script::scripts;

scripts! {
    both unacknowledged_qos_1_is_sent_again_with_dup:
        "pub -t t -m m -q 1 -c -i me --reconnect-initial-ms 10" => "
        connect
        < 32 { <t> 0001 «{}» 'm' }
        close
        connect 01
        < 3a { <t> 0001 «{}» 'm' }
        > 40 { 0001 }
        bye
        exit 0";
    both lost_session_makes_messages_new:
        "pub -t t -m m -q 1 -c -i me --reconnect-initial-ms 10" => "
        connect
        < 32 { <t> 0001 «{}» 'm' }
        reset
        connect 00
        < 32 { <t> 0002 «{}» 'm' }
        > 40 { 0002 }
        bye
        exit 0";
    both released_message_continues_with_pubrel:
        "pub -t t -m m -q 2 -c -i me --reconnect-initial-ms 10" => "
        connect
        ? 34
        > 50 { 0001 }
        < 62 { 0001 }
        close
        connect 01
        < 62 { 0001 }
        > 70 { 0001 }
        bye
        exit 0";
    both unreceived_qos_2_is_sent_again_with_dup:
        "pub -t t -m m -q 2 -c -i me --reconnect-initial-ms 10" => "
        connect
        < 34 { <t> 0001 «{}» 'm' }
        close
        connect 01
        < 3c { <t> 0001 «{}» 'm' }
        > 50 { 0001 }
        < 62 { 0001 }
        > 70 { 0001 }
        bye
        exit 0";
    both replay_keeps_the_original_order:
        "pub -t t -l -q 2 -c -i me --reconnect-initial-ms 10" => "
        in a
        in b
        in c
        connect
        < 34 { <t> 0001 «{}» 'a' }
        < 34 { <t> 0002 «{}» 'b' }
        < 34 { <t> 0003 «{}» 'c' }
        > 50 { 0002 }
        < 62 { 0002 }
        close
        connect 01
        < 3c { <t> 0001 «{}» 'a' }
        < 62 { 0002 }
        < 3c { <t> 0003 «{}» 'c' }
        > 50 { 0001 } 70 { 0002 } 50 { 0003 }
        < 62 { 0001 }
        < 62 { 0003 }
        > 70 { 0001 } 70 { 0003 }
        eof
        bye
        exit 0";
    both connect_is_the_same_after_a_loss: "sub -t t -i me -k 7 --reconnect-initial-ms 10 -C 1" => "
        accept
        < 10 { <MQTT> «05»‹04› 02 0007 «{}» <me> }
        > 20 { 00 00 «{}» }
        < 82 { 0001 «{}» <t> 00 }
        > 90 { 0001 «{}» 00 }
        reset
        accept
        < 10 { <MQTT> «05»‹04› 02 0007 «{}» <me> }
        > 20 { 00 00 «{}» }
        < 82 { 0002 «{}» <t> 00 }
        > 90 { 0002 «{}» 00 } 30 { <t> «{}» 'm' }
        out m
        bye
        exit 0";
    v5 assigned_id_is_kept: "sub -t t --reconnect-initial-ms 10 -C 1" => "
        accept
        < 10 { <MQTT> 05 02 003c {} <> }
        > 20 { 00 00 { 12 <auto-1> } }
        ? 82
        > 90 { 0001 {} 00 }
        close
        accept
        < 10 { <MQTT> 05 02 003c {} <auto-1> }
        > 20 { 00 00 {} }
        ? 82
        > 90 { 0002 {} 00 } 30 { <t> {} 'm' }
        out m
        bye
        exit 0";
    both kept_session_is_not_subscribed_again:
        "sub -t t -q 1 -c -i me --reconnect-initial-ms 10 -C 1" => "
        connect
        < 82 { 0001 «{}» <t> 01 }
        > 90 { 0001 «{}» 01 }
        silence 50
        close
        connect 01
        silence 200
        > 32 { <t> 0001 «{}» 'm' }
        out m
        < 40 { 0001 }
        bye
        exit 0";
    both lost_session_is_subscribed_again:
        "sub -t b -t a -q 1 -c -i me --reconnect-initial-ms 10 -C 1" => "
        connect
        ? 82
        > 90 { 0001 «{}» 01 01 }
        close
        connect 00
        < 82 { 0002 «{}» <b> 01 <a> 01 }
        > 90 { 0002 «{}» 01 01 } 30 { <a> «{}» 'm' }
        out m
        bye
        exit 0";
    both id_that_an_earlier_process_may_have_used_is_cleared_first:
        "pub -t t -m m -q 2 -c -i me" => "
        connect 01
        < 62 { 0001 }
        silence 100
        > 70 { 0001 «92» }
        < 34 { <t> 0001 «{}» 'm' }
        > 50 { 0001 }
        < 62 { 0001 }
        > 70 { 0001 }
        bye
        exit 0";
    both qos_1_of_a_new_process_needs_no_clearing: "pub -t t -m m -q 1 -c -i me" => "
        connect 01
        < 32 { <t> 0001 «{}» 'm' }
        > 40 { 0001 }
        bye
        exit 0";
    both session_of_an_earlier_process_is_kept_and_subscribed:
        "sub -t t -q 1 -c -i me -C 1" => "
        connect 01
        < 82 { 0001 «{}» <t> 01 }
        > 90 { 0001 «{}» 01 } 32 { <t> 0001 «{}» 'm' }
        out m
        < 40 { 0001 }
        bye
        exit 0";
    both unanswered_subscribe_is_sent_again:
        "sub -t t -q 1 -c -i me --reconnect-initial-ms 10 -E" => "
        connect
        ? 82
        close
        connect 01
        ? 82
        > 90 { 0002 «{}» 01 }
        bye
        exit 0";
    both qos_2_message_is_printed_once_across_reconnect:
        "sub -t t -q 2 -c -i me --reconnect-initial-ms 10 -C 2" => "
        connect
        ? 82
        > 90 { 0001 «{}» 02 } 34 { <t> 0005 «{}» 'm' }
        out m
        < 50 { 0005 }
        close
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
    both qos_2_ids_of_a_lost_session_are_forgotten:
        "sub -t t -q 2 -c -i me --reconnect-initial-ms 10 -C 2" => "
        connect
        ? 82
        > 90 { 0001 «{}» 02 } 34 { <t> 0005 «{}» 'm' }
        out m
        < 50 { 0005 }
        close
        connect 00
        ? 82
        > 90 { 0002 «{}» 02 } 34 { <t> 0005 «{}» 'n' }
        out n
        < 50 { 0005 }
        > 62 { 0005 }
        < 70 { 0005 }
        bye
        exit 0";
    both last_flow_is_finished_across_reconnect:
        "sub -t t -q 2 -c -i me --reconnect-initial-ms 10 -C 1" => "
        connect
        ? 82
        > 90 { 0001 «{}» 02 } 34 { <t> 0005 «{}» 'm' }
        out m
        < 50 { 0005 }
        close
        connect 01
        > 62 { 0005 }
        < 70 { 0005 }
        bye
        exit 0";
    both unacknowledged_qos_1_message_comes_again_after_a_loss:
        "sub -t t -q 1 -c -i me --reconnect-initial-ms 10 -C 2" => "
        connect
        ? 82
        > 90 { 0001 «{}» 01 } 32 { <t> 0005 «{}» 'm' }
        out m
        ? 40
        close
        connect 01
        > 3a { <t> 0005 «{}» 'm' }
        out m
        < 40 { 0005 }
        bye
        exit 0";
    both session_present_after_a_clean_start_is_a_protocol_error:
        "pub -t t -m m -q 1 --no-reconnect" => "
        connect 01
        «< e0 { 82 }»
        end
        exit 1";
    both first_connection_is_retried: "pub -t t -m m -q 1 --reconnect-initial-ms 10" => "
        accept
        ? 10
        close
        connect
        < 32 { <t> 0001 «{}» 'm' }
        > 40 { 0001 }
        bye
        exit 0";
    both qos_0_waits_for_the_connection: "pub -t t -m m --reconnect-initial-ms 10" => "
        accept
        ? 10
        close
        connect
        < 30 { <t> «{}» 'm' }
        bye
        exit 0";
    both connack_alone_does_not_reset_the_delay: "sub -t t --reconnect-initial-ms 200 --reconnect-max-ms 3000" => "
        connect
        close
        connect
        close
        connect
        close
        connect
        since 400
        ? 82
        term
        bye
        exit 0";
    both without_reconnect_the_first_loss_is_an_error: "sub -t t --no-reconnect" => "
        connect
        ? 82
        close
        exit 1";
    both without_reconnect_a_failed_connection_is_an_error: "pub -t t -m m --no-reconnect -L mqtt://127.0.0.1:1 -i $PORT" => "
        exit 1 Connection refused";
    both without_reconnect_every_url_is_tried_once: "pub -t t -m m --no-reconnect -L mqtt://127.0.0.1:1 -L mqtt://127.0.0.1:2 -i $PORT" => "
        exit 1 Connection refused";
}
