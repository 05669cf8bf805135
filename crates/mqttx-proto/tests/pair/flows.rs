//! Named flows; see the other files of this folder for the machinery.
