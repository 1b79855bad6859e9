# Fails if one of OBJECTS defines a weak symbol. OBJECTS are compiled for processors of different levels. If several of
# them define the same weak symbol, the linker keeps any one, and a processor could get an instruction that it lacks.
#
# Call it as cmake -DNM=<nm> -DOBJECTS=<files separated by commas> -P CheckLevels.cmake

string(REPLACE "," ";" OBJECTS "${OBJECTS}")
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND "${NM}" --defined-only --demangle "${object}" OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]* [Wu] [^\n]*" weak "${symbols}")
  if(weak)
    string(REPLACE ";" "\n  " weak "${weak}")
    message(FATAL_ERROR "${object} shares these with other objects; inline them or give them internal linkage:\n  ${weak}")
  endif()
endforeach()
