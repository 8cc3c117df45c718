# Finds libtorch without find_package(Torch), which is a fatal error with a CUDA wheel and no toolkit.
# PRUDENT_LIBTORCH is a folder that holds include/ and lib/ (a torch wheel's torch/ folder has this form).
set(PRUDENT_LIBTORCH "$ENV{PRUDENT_LIBTORCH}" CACHE PATH "Folder with include/ and lib/ of libtorch")
if(NOT PRUDENT_LIBTORCH)
  execute_process(
    COMMAND python3 -c "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
    OUTPUT_VARIABLE PRUDENT_PYTHON_TORCH OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  set(PRUDENT_LIBTORCH "${PRUDENT_PYTHON_TORCH}" CACHE PATH "" FORCE)
endif()
if(NOT EXISTS "${PRUDENT_LIBTORCH}/include/ATen/ATen.h")
  message(FATAL_ERROR "libtorch not found: set PRUDENT_LIBTORCH to a folder with include/ and lib/, or run node scripts/setup.mjs")
endif()

add_library(prudent_libtorch INTERFACE)
target_include_directories(prudent_libtorch SYSTEM INTERFACE
  ${PRUDENT_LIBTORCH}/include ${PRUDENT_LIBTORCH}/include/torch/csrc/api/include)
target_link_libraries(prudent_libtorch INTERFACE ${PRUDENT_LIBTORCH}/lib/libtorch_cpu.so ${PRUDENT_LIBTORCH}/lib/libc10.so)
target_compile_definitions(prudent_libtorch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
