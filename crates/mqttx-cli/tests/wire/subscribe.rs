//! `sub`: SUBSCRIBE byte for byte, what is printed, and when it is acknowledged.

use crate::script::scripts;

scripts! {
    both one_subscribe_for_all_filters_in_order: "sub -t b -t a/+ -t $SYS/# -q 2 -C 1" => "
        connect
        < 82 { 0001 «{}» <b> 02 <a/+> 02 <$SYS/#> 02 }
        > 90 { 0001 «{}» 02 02 02 }
        > 30 { <$SYS/x> «{}» 'm' }
        out m
        bye
        exit 0";
    v5 options_are_bits: "sub -t t -q 1 --no-local --retain-as-published --retain-handling 2 -E" => "
        connect
        < 82 { 0001 {} <t> 2d }
        > 90 { 0001 {} 01 }
        bye
        exit 0";
    v5 retain_handling_1: "sub -t t --retain-handling 1 -E" => "
        connect
        < 82 { 0001 {} <t> 10 }
        > 90 { 0001 {} 00 }
        bye
        exit 0";
    v5 subscribe_properties_are_sent:
        "sub -t t -E -D subscribe subscription-identifier 300 -D subscribe user-property k v" => "
        connect
        < 82 { 0001 { 0b ac02 26 <k> <v> } <t> 00 }
        > 90 { 0001 {} 00 }
        bye
        exit 0";
    both shared_subscription_is_passed_on: "sub -t $share/g/a/# -q 1 -C 1" => "
        connect
        < 82 { 0001 «{}» <$share/g/a/#> 01 }
        > 90 { 0001 «{}» 01 }
        > 32 { <a/b> 0005 «{}» 'm' }
        out m
        < 40 { 0005 }
        bye
        exit 0";
    both exits_after_suback: "sub -t t -E" => "
        connect
        ? 82
        silence 200
        > 90 { 0001 «{}» 00 }
        bye
        exit 0";
    both unsubscribes_after_connecting: "sub -t t -U old -U older -E" => "
        connect
        < 82 { 0001 «{}» <t> 00 }
        < a2 { 0002 «{}» <old> <older> }
        > 90 { 0001 «{}» 00 } b0 { 0002 «{} 00 11» }
        bye
        exit 0";
    v5 unsubscribe_properties_are_sent: "sub -U old -E -D unsubscribe user-property k v" => "
        connect
        < a2 { 0001 { 26 <k> <v> } <old> }
        > b0 { 0001 {} 00 }
        bye
        exit 0";
    both qos_1_is_acknowledged_after_printing: "sub -t t -q 1 -C 1" => "
        connect
        ? 82
        > 90 { 0001 «{}» 01 } 32 { <t> 0007 «{}» 'm' }
        out m
        < 40 { 0007 }
        bye
        exit 0";
    both an_early_pubrel_is_answered_after_pubrec: "sub -t t -q 2 -C 2" => "
        connect
        ? 82
        > 90 { 0001 «{}» 02 } 34 { <t> 0007 «{}» 'm' } 62 { 0007 } 32 { <t> 0008 «{}» 'n' }
        < 50 { 0007 }
        < 70 { 0007 }
        < 40 { 0008 }
        out m
        out n
        bye
        exit 0";
    both qos_2_flow_is_finished_before_disconnect: "sub -t t -q 2 -C 1" => "
        connect
        ? 82
        > 90 { 0001 «{}» 02 } 34 { <t> 0007 «{}» 'm' }
        out m
        < 50 { 0007 }
        silence 300
        > 62 { 0007 }
        < 70 { 0007 }
        bye
        exit 0";
    both message_after_the_last_is_neither_printed_nor_acknowledged: "sub -t t -q 2 -C 2" => "
        connect
        ? 82
        > 90 { 0001 «{}» 02 } 32 { <t> 0001 «{}» 'a' } 34 { <t> 0002 «{}» 'b' } 32 { <t> 0003 «{}» 'c' } 34 { <t> 0004 «{}» 'd' } 30 { <t> «{}» 'e' }
        out a
        out b
        < 40 { 0001 }
        < 50 { 0002 }
        silence 200
        > 32 { <t> 0005 «{}» 'f' } 62 { 0002 }
        < 70 { 0002 }
        bye
        exit 0";
    both messages_may_come_before_suback: "sub -t t -q 1 -C 1" => "
        connect
        ? 82
        > 32 { <t> 0007 «{}» 'early' }
        out early
        < 40 { 0007 }
        bye
        exit 0";
    both message_for_another_filter_is_printed: "sub -t t -q 1 -C 1 -v" => "
        connect
        ? 82
        > 90 { 0001 «{}» 01 } 32 { <of/an/older/session> 0007 «{}» 'm' }
        out of/an/older/session m
        < 40 { 0007 }
        bye
        exit 0";
    both qos_2_duplicate_is_printed_once: "sub -t t -q 2 -C 2" => "
        connect
        ? 82
        > 90 { 0001 «{}» 02 } 34 { <t> 0007 «{}» 'm' }
        out m
        < 50 { 0007 }
        > 3c { <t> 0007 «{}» 'm' }
        < 50 { 0007 }
        > 62 { 0007 }
        < 70 { 0007 }
        > 34 { <t> 0007 «{}» 'next' }
        out next
        < 50 { 0007 }
        > 62 { 0007 }
        < 70 { 0007 }
        bye
        exit 0";
    both qos_1_duplicate_is_printed_again: "sub -t t -q 1 -C 2" => "
        connect
        ? 82
        > 90 { 0001 «{}» 01 } 32 { <t> 0007 «{}» 'm' } 3a { <t> 0007 «{}» 'm' }
        out m
        out m
        < 40 { 0007 }
        < 40 { 0007 }
        bye
        exit 0";
    both unknown_pubrel_is_answered: "sub -t t -q 2 -C 1" => "
        connect
        ? 82
        > 90 { 0001 «{}» 02 } 62 { 0009 }
        < 70 { 0009 «92» }
        > 30 { <t> «{}» 'm' }
        out m
        bye
        exit 0";
    both acknowledgements_keep_the_order_of_arrival: "sub -t t -q 2 -C 3" => "
        connect
        ? 82
        > 90 { 0001 «{}» 02 } 32 { <t> 0003 «{}» 'a' } 34 { <t> 0001 «{}» 'b' } 32 { <t> 0002 «{}» 'c' }
        < 40 { 0003 }
        < 50 { 0001 }
        < 40 { 0002 }
        > 62 { 0001 }
        < 70 { 0001 }
        bye
        out a
        out b
        out c
        exit 0";
    both packets_in_single_bytes_are_put_together: "sub -t t -q 1 -C 2" => "
        connect
        ? 82
        >> 90 { 0001 «{}» 01 } 32 { <t> 0007 «{ 26 <k> <v> }» 'one' } 30 { <t> «{}» 'two' }
        out one
        out two
        < 40 { 0007 }
        bye
        exit 0";
    both time_of_w_ends_with_27: "sub -t t -W 3" => "
        connect
        ? 82
        > 90 { 0001 «{}» 00 } 30 { <t> «{}» 'm' }
        out m
        bye
        exit 27";
    both time_of_w_ends_a_last_flow: "sub -t t -q 2 -C 1 -W 3" => "
        connect
        ? 82
        > 90 { 0001 «{}» 02 } 34 { <t> 0007 «{}» 'm' }
        out m
        < 50 { 0007 }
        bye
        exit 27";
    both unanswered_subscribe_does_not_stop_w: "sub -t t -W 3" => "
        connect
        ? 82
        bye
        exit 27";
    both time_of_w_ends_without_a_connection: "sub -t t -W 1" => "
        accept
        ? 10
        exit 27";
    both count_is_reached_before_time: "sub -t t -W 30 -C 1" => "
        connect
        ? 82
        > 90 { 0001 «{}» 00 } 30 { <t> «{}» 'm' }
        out m
        bye
        exit 0";
    both signal_disconnects_and_is_success: "sub -t t" => "
        connect
        ? 82
        > 90 { 0001 «{}» 00 }
        silence 100
        term
        bye
        exit 0";
    both interrupt_disconnects_and_is_success: "sub -t t" => "
        connect
        ? 82
        int
        bye
        exit 0";
    both retained_messages_can_be_left_out: "sub -t t -R -q 1 -C 1" => "
        connect
        ? 82
        > 90 { 0001 «{}» 01 } 33 { <t> 0001 «{}» 'old' } 32 { <t> 0002 «{}» 'new' }
        < 40 { 0001 }
        < 40 { 0002 }
        bye
        out new
        exit 0";
    both only_retained_messages: "sub -t t --retained-only -q 1 -C 1" => "
        connect
        ? 82
        > 90 { 0001 «{}» 01 } 32 { <t> 0001 «{}» 'new' } 33 { <t> 0002 «{}» 'old' }
        < 40 { 0001 }
        < 40 { 0002 }
        bye
        out old
        exit 0";
    both messages_before_the_end_of_the_connection_are_printed: "sub -t t --no-reconnect" => "
        connect
        ? 82
        > 90 { 0001 «{}» 00 } 30 { <t> «{}» 'a' } 30 { <t> «{}» 'b' } 30 { <t> «{}» 'c' }
        close
        out a
        out b
        out c
        exit 1";
    both count_is_reached_although_the_connection_ends: "sub -t t -C 2 --no-reconnect" => "
        connect
        ? 82
        > 90 { 0001 «{}» 00 } 30 { <t> «{}» 'a' } 30 { <t> «{}» 'b' }
        close
        out a
        out b
        exit 0";
    both messages_behind_connack_are_printed: "sub -t t -q 1 -c -i me -C 2" => "
        accept
        ? 10
        > 20 { 01 00 «{}» } 32 { <t> 0009 «{}» 'kept' } 34 { <t> 000a «{}» 'too' }
        ? 82
        > 90 { 0001 «{}» 01 }
        out kept
        out too
        < 40 { 0009 }
        < 50 { 000a }
        > 62 { 000a }
        < 70 { 000a }
        bye
        exit 0";
    v5 aliases_end_with_the_connection: "sub -t # --topic-alias-max 2 --reconnect-initial-ms 10 --reconnect-max-ms 20 -W 3" => "
        connect
        ? 82
        > 90 { 0001 {} 00 } 30 { <a> { 23 0001 } '1' }
        out 1
        close
        connect
        ? 82
        > 90 { 0002 {} 00 } 30 { <> { 23 0001 } '2' }
        ? e0
        end
        exit 27";
    v5 aliases_are_resolved: "sub -t # -q 1 -C 3 -v --topic-alias-max 2" => "
        connect
        ? 82
        > 90 { 0001 {} 01 } 30 { <a/b> { 23 0001 } '1' } 30 { <> { 23 0001 } '2' } 30 { <c> { 23 0001 } '3' }
        out a/b 1
        out a/b 2
        out c 3
        bye
        exit 0";
    both largest_topic_is_printed: "sub -t # -C 1 -F '%.3t %l'" => &format!("
        connect
        ? 82
        > 90 {{ 0001 «{{}}» 00 }} 30 {{ <{}> «{{}}» 'm' }}
        out ttt 1
        bye
        exit 0", "t".repeat(65_535));
    both topic_of_any_script_is_printed: "sub -t # -C 1 -v" => "
        connect
        ? 82
        > 90 { 0001 «{}» 00 } 30 { <räume/温度/🌡> «{}» 'm' }
        out räume/温度/🌡 m
        bye
        exit 0";
    both granted_level_may_be_lower: "sub -t t -q 2 -C 1" => "
        connect
        ? 82
        > 90 { 0001 «{}» 00 } 30 { <t> «{}» 'm' }
        out m
        bye
        exit 0";
}
