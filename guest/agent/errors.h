// Codes of ERROR frames for errno values.
#pragma once
const char *error_code(int error);
