//! What the server refuses: which codes are retried, how the command ends, what it says.

use crate::script::scripts;

scripts! {
    v5 refused_connection_ends_with_the_code: "pub -t t -m m -q 1" => "
        accept
        ? 10
        > 20 { 00 87 { 1f <no 'entry'> } }
        end
        exit 135 0x87 (Not authorized): no 'entry'";
    v5 malformed_username_ends_with_the_code: "sub -t t" => "
        accept
        ? 10
        > 20 { 00 86 {} }
        end
        exit 134 0x86";
    v5 unspecified_error_is_not_retried: "sub -t t" => "
        accept
        ? 10
        > 20 { 00 80 {} }
        end
        exit 128 0x80";
    v311 return_code_1: "pub -t t -m m" => "
        accept
        ? 10
        > 20 { 00 01 }
        end
        exit 132";
    v311 return_code_2: "pub -t t -m m" => "
        accept
        ? 10
        > 20 { 00 02 }
        end
        exit 133";
    v311 return_code_4: "pub -t t -m m" => "
        accept
        ? 10
        > 20 { 00 04 }
        end
        exit 134";
    v311 return_code_5: "sub -t t" => "
        accept
        ? 10
        > 20 { 00 05 }
        end
        exit 135";
    v311 return_code_3_is_retried: "pub -t t -m m --reconnect-initial-ms 10" => "
        accept
        ? 10
        > 20 { 00 03 }
        end
        connect
        ? 30
        bye
        exit 0 0x88";
    v5 busy_servers_are_asked_again: "pub -t t -m m --reconnect-initial-ms 1 --reconnect-max-ms 5" => "
        accept
        ? 10
        > 20 { 00 88 {} }
        end
        accept
        ? 10
        > 20 { 00 89 {} }
        end
        accept
        ? 10
        > 20 { 00 97 {} }
        end
        accept
        ? 10
        > 20 { 00 9f {} }
        end
        connect
        ? 30
        bye
        exit 0";
    v5 busy_server_without_reconnect_is_an_error: "pub -t t -m m --no-reconnect" => "
        accept
        ? 10
        > 20 { 00 89 {} }
        end
        exit 137";
    v311 busy_server_without_reconnect_is_an_error_in_3_1_1: "pub -t t -m m --no-reconnect" => "
        accept
        ? 10
        > 20 { 00 03 }
        end
        exit 136";
    v5 refused_puback_ends_with_the_code: "pub -t a/b -m m -q 1" => "
        connect
        ? 32
        > 40 { 0001 87 { 1f <go away> } }
        bye
        exit 135 a/b";
    v5 refused_pubcomp_is_an_error: "pub -t t -m m -q 2" => "
        connect
        ? 34
        > 50 { 0001 }
        ? 62
        > 70 { 0001 92 }
        bye
        exit 146";
    v5 pubcomp_of_an_unknown_id_after_a_reconnect_is_success:
        "pub -t t -m m -q 2 -c -i me --reconnect-initial-ms 10" => "
        connect
        ? 34
        > 50 { 0001 }
        ? 62
        close
        connect 01
        < 62 { 0001 }
        > 70 { 0001 92 }
        bye
        exit 0";
    v5 refused_pubrec_ends_the_flow: "pub -t t -m m -q 2" => "
        connect
        ? 34
        > 50 { 0001 97 }
        bye
        exit 151 0x97";
    v5 one_refusal_does_not_stop_the_others: "pub -t t -l -q 1" => "
        in a
        in b
        in c
        eof
        connect
        ? 32
        ? 32
        ? 32
        > 40 { 0001 99 } 40 { 0002 } 40 { 0003 97 }
        bye
        exit 153 failed in all: 2";
    v5 the_code_is_that_of_the_first_message: "pub -t t -l -q 1" => "
        in a
        in b
        in c
        eof
        connect
        ? 32
        ? 32
        ? 32
        > 40 { 0003 97 } 40 { 0002 } 40 { 0001 99 }
        bye
        exit 153 failed in all: 2";
    v5 refused_filter_ends_with_the_code: "sub -t a/# -q 1" => "
        connect
        ? 82
        > 90 { 0001 { 1f <secret> } 87 }
        bye
        exit 135 a/#";
    v311 refused_filter_ends_with_the_failure_code: "sub -t a -q 1" => "
        connect
        ? 82
        > 90 { 0001 80 }
        bye
        exit 128 filter 'a' refused";
    both all_refused_filters_are_an_error: "sub -t a -t b" => "
        connect
        ? 82
        > 90 { 0001 «{} 87 97»‹80 80› }
        bye
        exit «135»‹128› refused in all: 2";
    both other_filters_go_on: "sub -t a -t b -C 1" => "
        connect
        ? 82
        > 90 { 0001 «{} 87»‹80› 00 } 30 { <b> «{}» 'm' }
        out m
        bye
        exit 0 filter 'a' refused";
    both refused_filter_with_exit_after_subscribe: "sub -t a -E" => "
        connect
        ? 82
        > 90 { 0001 «{} 8f»‹80› }
        bye
        exit «143»‹128›";
    v5 filters_that_connack_rules_out_are_not_sent: "sub -t a/+" => "
        accept
        ? 10
        > 20 { 00 00 { 28 00 } }
        bye
        exit 162";
    v5 shared_filters_that_connack_rules_out_are_not_sent: "sub -t $share/g/a" => "
        accept
        ? 10
        > 20 { 00 00 { 2a 00 } }
        bye
        exit 158";
    v5 subscription_identifiers_that_connack_rules_out_are_not_sent:
        "sub -t a -D subscribe subscription-identifier 3" => "
        accept
        ? 10
        > 20 { 00 00 { 29 00 } }
        bye
        exit 161";
    v5 filters_that_connack_allows_go_on: "sub -t a/+ -t b -C 1" => "
        accept
        ? 10
        > 20 { 00 00 { 28 00 } }
        < 82 { 0001 {} <b> 00 }
        > 90 { 0001 {} 00 } 30 { <b> {} 'm' }
        out m
        bye
        exit 0 a/+";
    v5 banned_client_ends: "sub -t t" => "
        accept
        ? 10
        > 20 { 00 8a { 1f <banned> 26 <k> <v> } }
        end
        exit 138 0x8A (Banned): banned";
    both takeover_while_publishing_ends: "pub -t t -m m -q 1 «»‹--no-reconnect›" => "
        connect
        ? 32
        «> e0 { 8e { 1f <twice> } }»‹close›
        «end»
        exit «142 twice»‹1›";
    v5 takeover_ends_the_command: "sub -t t" => "
        connect
        ? 82
        > e0 { 8e }
        end
        exit 142 0x8E";
    v5 other_disconnects_are_said_and_reconnected: "sub -t t --reconnect-initial-ms 10 -C 1" => "
        connect
        ? 82
        > e0 { 8b { 1f <bye> } }
        end
        connect
        ? 82
        > 90 { 0002 {} 00 } 30 { <t> {} 'm' }
        out m
        bye
        exit 0 0x8B";
    v5 disconnect_without_reconnect_ends_with_the_code: "sub -t t --no-reconnect" => "
        connect
        ? 82
        > e0 { 8b }
        end
        exit 139";
    v5 redirection_is_followed_and_said: "pub -t t -m m -q 1" => "
        accept
        ? 10
        > 20 { 00 9c { 1c <127.0.0.1:$PORT2> } }
        end
        accept2
        ? 10
        > 20 { 00 00 {} }
        < 32 { <t> 0001 {} 'm' }
        > 40 { 0001 }
        bye
        exit 0 127.0.0.1:$PORT2";
    v5 redirection_without_reconnect_is_an_error: "pub -t t -m m -q 1 --no-reconnect" => "
        accept
        ? 10
        > 20 { 00 9c { 1c <127.0.0.1:$PORT2> } }
        end
        exit 156 127.0.0.1:$PORT2";
    v5 redirection_by_disconnect_without_reconnect_is_an_error: "sub -t t --no-reconnect" => "
        connect
        ? 82
        > e0 { 9d { 1c <127.0.0.1:$PORT2> } }
        end
        exit 157 127.0.0.1:$PORT2";
    v5 redirection_by_disconnect_is_followed: "sub -t t -C 1" => "
        connect
        ? 82
        > 90 { 0001 {} 00 } e0 { 9d { 1c <127.0.0.1:$PORT2> } }
        end
        accept2
        ? 10
        > 20 { 00 00 {} }
        < 82 { 0002 {} <t> 00 }
        > 90 { 0002 {} 00 } 30 { <t> {} 'm' }
        out m
        bye
        exit 0";
    v5 redirection_in_a_circle_ends: "pub -t t -m m" => "
        accept
        ? 10
        > 20 { 00 9c { 1c <127.0.0.1:$PORT2> } }
        end
        accept2
        ? 10
        > 20 { 00 9c { 1c <127.0.0.1:$PORT2> } }
        end
        accept2
        ? 10
        > 20 { 00 9c { 1c <127.0.0.1:$PORT2> } }
        end
        accept2
        ? 10
        > 20 { 00 9c { 1c <127.0.0.1:$PORT2> } }
        end
        exit 156";
    v5 redirection_by_disconnect_in_a_circle_ends: "sub -t t" => "
        connect
        ? 82
        > e0 { 9c { 1c <127.0.0.1:$PORT2> } }
        end
        accept2
        ? 10
        > 20 { 00 00 {} }
        ? 82
        > e0 { 9c { 1c <127.0.0.1:$PORT2> } }
        end
        accept2
        ? 10
        > 20 { 00 00 {} }
        ? 82
        > e0 { 9c { 1c <127.0.0.1:$PORT2> } }
        end
        accept2
        ? 10
        > 20 { 00 00 {} }
        ? 82
        > e0 { 9c { 1c <127.0.0.1:$PORT2> } }
        end
        exit 156";
    v5 redirection_to_a_list_takes_what_answers: "pub -t t -m m -q 1" => "
        accept
        ? 10
        > 20 { 00 9c { 1c <127.0.0.1:1 127.0.0.1:$PORT2> } }
        end
        accept2
        ? 10
        > 20 { 00 00 {} }
        < 32 { <t> 0001 {} 'm' }
        > 40 { 0001 }
        bye
        exit 0";
    v5 redirection_without_an_address_ends: "pub -t t -m m -L mqtt://127.0.0.1:$PORT" => "
        accept
        ? 10
        > 20 { 00 9c {} }
        end
        exit 156";
    v5 redirection_to_nowhere_ends: "pub -t t -m m" => "
        accept
        ? 10
        > 20 { 00 9d { 1c <a:b:c> } }
        end
        exit 157 a:b:c";
}
