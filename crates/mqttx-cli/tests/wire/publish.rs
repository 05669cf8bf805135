//! `pub`: PUBLISH byte for byte, every form of acknowledgement, and what counts as success.

use crate::script::scripts;

scripts! {
    both qos_0_is_written_and_done: "pub -t a/b -m hello" => "
        connect
        < 30 { <a/b> «{}» 'hello' }
        bye
        exit 0";
    both qos_1_waits_for_puback: "pub -t t -m m -q 1" => "
        connect
        < 32 { <t> 0001 «{}» 'm' }
        silence 300
        > 40 { 0001 }
        bye
        exit 0";
    both qos_2_waits_for_pubcomp: "pub -t t -m m -q 2" => "
        connect
        < 34 { <t> 0001 «{}» 'm' }
        silence 100
        > 50 { 0001 }
        < 62 { 0001 }
        silence 100
        > 70 { 0001 }
        bye
        exit 0";
    v5 acknowledgements_have_long_forms: "pub -t t -m m -q 2" => "
        connect
        ? 34
        > 50 { 0001 00 }
        < 62 { 0001 }
        > 70 { 0001 00 { 26 <k> <v> } }
        bye
        exit 0";
    v5 puback_with_reason_and_properties: "pub -t t -m m -q 1" => "
        connect
        ? 32
        > 40 { 0001 00 { 1f <fine> } }
        bye
        exit 0";
    v5 no_matching_subscribers_is_success: "pub -t t -m m -q 1" => "
        connect
        ? 32
        > 40 { 0001 10 }
        bye
        exit 0";
    v5 no_matching_subscribers_in_pubrec_goes_on: "pub -t t -m m -q 2" => "
        connect
        ? 34
        > 50 { 0001 10 }
        < 62 { 0001 }
        > 70 { 0001 }
        bye
        exit 0";
    both acknowledgements_in_single_bytes: "pub -t t -m m -q 2" => "
        connect
        ? 34
        >> 50 { 0001 }
        < 62 { 0001 }
        >> 70 { 0001 }
        bye
        exit 0";
    both retain_flag_is_sent: "pub -t t -m m -r" => "
        connect
        < 31 { <t> «{}» 'm' }
        bye
        exit 0";
    both retain_with_qos_2: "pub -t t -m m -r -q 2" => "
        connect
        < 35 { <t> 0001 «{}» 'm' }
        > 50 { 0001 }
        ? 62
        > 70 { 0001 }
        bye
        exit 0";
    both null_message_has_no_payload: "pub -t t -n -r -q 1" => "
        connect
        < 33 { <t> 0001 «{}» }
        > 40 { 0001 }
        bye
        exit 0";
    both empty_message_has_no_payload: "pub -t t -m ''" => "
        connect
        < 30 { <t> «{}» }
        bye
        exit 0";
    both message_may_begin_with_a_dash: "pub -t -t -m -5" => "
        connect
        < 30 { <-t> «{}» '-5' }
        bye
        exit 0";
    both message_is_not_taken_apart: "pub -t t -m 'a  b -D c'" => "
        connect
        < 30 { <t> «{}» 'a  b -D c' }
        bye
        exit 0";
    v5 message_properties_are_sent_in_order:
        "pub -t t -m m -q 1 -D publish content-type text/plain -D publish user-property k -1 -D publish message-expiry-interval 60 -D publish payload-format-indicator 1 -D publish correlation-data xyz -D publish response-topic r/t -D publish user-property k v" => "
        connect
        < 32 { <t> 0001 { 03 <text/plain> 26 <k> <-1> 02 0000003c 01 01 09 <xyz> 08 <r/t> 26 <k> <v> } 'm' }
        > 40 { 0001 }
        bye
        exit 0";
    both lines_are_messages_in_order: "pub -t t -l -q 1" => "
        connect
        in one
        in
        in  three
        eof
        < 32 { <t> 0001 «{}» 'one' }
        < 32 { <t> 0002 «{}» }
        < 32 { <t> 0003 «{}» ' three' }
        > 40 { 0001 } 40 { 0002 } 40 { 0003 }
        bye
        exit 0";
    both line_is_sent_before_the_next_is_there: "pub -t t -l -q 1" => "
        connect
        in one
        < 32 { <t> 0001 «{}» 'one' }
        > 40 { 0001 }
        silence 200
        in two
        ? 32
        > 40 { 0002 }
        eof
        bye
        exit 0";
    both lines_without_a_line_are_nothing: "pub -t t -l -q 1" => "
        eof
        connect
        bye
        exit 0";
    both standard_input_is_one_message: "pub -t t -s" => "
        in one
        in two
        eof
        connect
        < 30 { <t> «{}» 'one' 0a 'two' 0a }
        bye
        exit 0";
    both empty_standard_input_is_one_empty_message: "pub -t t -s" => "
        eof
        connect
        < 30 { <t> «{}» }
        bye
        exit 0";
    both file_that_is_missing_is_an_error: "pub -t t -f no/such/file" => "
        exit 1 no/such/file";
    both repeated_messages_have_ids_of_their_own: "pub -t t -m m -q 1 --repeat 3" => "
        connect
        < 32 { <t> 0001 «{}» 'm' }
        < 32 { <t> 0002 «{}» 'm' }
        < 32 { <t> 0003 «{}» 'm' }
        > 40 { 0003 } 40 { 0001 } 40 { 0002 }
        bye
        exit 0";
    both repetitions_wait_for_their_delay: "pub -t t -m m --repeat 2 --repeat-delay 0.4" => "
        connect
        ? 30
        ? 30
        since 400
        bye
        exit 0";
    both report_tells_of_each_message: "pub -t t -m m -q 1 --report" => "
        connect
        ? 32
        out {\"n\":1,\"event\":\"accepted\",\"packet_id\":null,\"reason\":null}
        > 40 { 0001 }
        out {\"n\":1,\"event\":\"acknowledged\",\"packet_id\":1,\"reason\":0}
        bye
        exit 0";
    v5 report_tells_of_refusals: "pub -t t -m m -q 1 --report" => "
        connect
        ? 32
        out {\"n\":1,\"event\":\"accepted\",\"packet_id\":null,\"reason\":null}
        > 40 { 0001 97 }
        out {\"n\":1,\"event\":\"refused\",\"packet_id\":1,\"reason\":151}
        bye
        exit 151 0x97";
    both timeout_ends_the_command: "pub -t t -m m -q 1 --timeout 3" => "
        connect
        ? 32
        bye
        exit 1 unacknowledged messages to t: 1";
    both signal_with_nothing_unacknowledged_is_success: "pub -t t -l -q 1" => "
        connect
        in one
        ? 32
        > 40 { 0001 }
        silence 100
        term
        bye
        exit 0";
    both signal_with_unacknowledged_messages_is_an_error: "pub -t t -l -q 1" => "
        connect
        in one
        in two
        ? 32
        ? 32
        int
        bye
        exit 1 unacknowledged messages to t: 2";
    both signal_while_connecting_ends_the_command: "pub -t t -m m -q 1" => "
        accept
        ? 10
        term
        exit 1 unacknowledged messages to t: 1";
    both last_acknowledgement_counts_although_the_connection_ends: "pub -t t -l -q 1 --no-reconnect" => "
        in a
        in b
        in c
        eof
        connect
        ? 32
        ? 32
        ? 32
        > 40 { 0001 } 40 { 0002 } 40 { 0003 }
        close
        exit 0";
    both puback_does_not_finish_qos_2: "pub -t t -m m -q 2 --no-reconnect" => "
        connect
        ? 34
        > 40 { 0001 }
        «< e0 { 82 }»
        end
        exit 1 unacknowledged messages to t: 1";
    both pubcomp_does_not_finish_without_pubrec: "pub -t t -m m -q 2 --no-reconnect" => "
        connect
        ? 34
        > 70 { 0001 }
        «< e0 { 82 }»
        end
        exit 1 unacknowledged messages to t: 1";
    both pubrec_does_not_finish_qos_1: "pub -t t -m m -q 1 --no-reconnect" => "
        connect
        ? 32
        > 50 { 0001 }
        «< e0 { 82 }»
        end
        exit 1 unacknowledged messages to t: 1";
    both unasked_pingresp_and_answers_are_ignored: "pub -t t -m m -q 1" => "
        connect
        ? 32
        > d0 {} b0 { 0003 «{} 00» } 90 { 0004 «{}» 00 } 40 { 0001 }
        bye
        exit 0";
    v5 message_that_expires_before_it_is_sent_is_an_error:
        "pub -t t -m m -q 1 -D publish message-expiry-interval 1" => "
        accept
        ? 10
        silence 1500
        > 20 { 00 00 {} }
        bye
        exit 1 message 1, topic t";
    both unknown_acknowledgements_are_ignored: "pub -t t -m m -q 1" => "
        connect
        ? 32
        > 40 { 0007 } 70 { 0009 }
        > 40 { 0001 }
        bye
        exit 0";
    both pubrec_for_an_unknown_id_is_answered: "pub -t t -m m -q 1" => "
        connect
        ? 32
        > 50 { 0007 }
        < 62 { 0007 «92» }
        > 70 { 0007 }
        > 40 { 0001 }
        bye
        exit 0";
    both duplicate_pubrec_is_answered_again: "pub -t t -m m -q 2" => "
        connect
        ? 34
        > 50 { 0001 }
        < 62 { 0001 }
        > 50 { 0001 }
        < 62 { 0001 }
        > 70 { 0001 }
        bye
        exit 0";
    both message_for_a_publisher_stays_with_the_server: "pub -t t -m m -q 1 -c -i me" => "
        connect 01
        ? 32
        > 32 { <x> 0007 «{}» 'y' } 34 { <x> 0008 «{}» 'z' }
        silence 200
        > 40 { 0001 }
        bye
        exit 0";
    both messages_arriving_at_a_publisher_are_no_obstacle: "pub -t t -m m -q 1" => "
        connect
        ? 32
        > 30 { <x> «{}» 'y' } 40 { 0001 }
        bye
        exit 0";
}
