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
}
