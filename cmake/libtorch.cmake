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

# The version as the headers give it, and in full (2.13.0+cpu) where the folder is a wheel's.
set(torch_version_header ${PRUDENT_LIBTORCH}/include/torch/headeronly/version.h)
if(NOT EXISTS ${torch_version_header})
  set(torch_version_header ${PRUDENT_LIBTORCH}/include/torch/csrc/api/include/torch/version.h)
endif()
file(STRINGS ${torch_version_header} torch_version_lines REGEX "^#define TORCH_VERSION_(MAJOR|MINOR|PATCH) [0-9]+")
list(TRANSFORM torch_version_lines REPLACE "^[^0-9]+" "")
list(JOIN torch_version_lines "." torch_header_version)
set(PRUDENT_LIBTORCH_VERSION ${torch_header_version})
if(EXISTS ${PRUDENT_LIBTORCH}/version.py)
  file(STRINGS ${PRUDENT_LIBTORCH}/version.py torch_version_line REGEX "^__version__")
  if(torch_version_line MATCHES "'([^']+)'")
    set(PRUDENT_LIBTORCH_VERSION ${CMAKE_MATCH_1})
  endif()
endif()
if(torch_header_version VERSION_LESS 2.11 OR torch_header_version VERSION_GREATER_EQUAL 2.14)
  message(FATAL_ERROR "libtorch ${PRUDENT_LIBTORCH_VERSION} in ${PRUDENT_LIBTORCH}: supported is 2.11 to 2.13")
endif()
message(STATUS "libtorch ${PRUDENT_LIBTORCH_VERSION}: ${PRUDENT_LIBTORCH}")

add_library(prudent_libtorch INTERFACE)
target_include_directories(prudent_libtorch SYSTEM INTERFACE
  ${PRUDENT_LIBTORCH}/include ${PRUDENT_LIBTORCH}/include/torch/csrc/api/include)
target_link_libraries(prudent_libtorch INTERFACE ${PRUDENT_LIBTORCH}/lib/libtorch_cpu.so ${PRUDENT_LIBTORCH}/lib/libc10.so)
target_compile_definitions(prudent_libtorch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)

# at::parallel_for is OpenMP code in headers. It must run on the OpenMP library that libtorch itself uses, the wheel's: two in
# one process would each keep a team of threads. So the compiler option is for compiling only, and the wheel's file is linked.
target_compile_options(prudent_libtorch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
file(GLOB torch_openmp ${PRUDENT_LIBTORCH}/lib/libgomp*.so* ${PRUDENT_LIBTORCH}/../torch.libs/libgomp*.so*)
if(torch_openmp)
  list(GET torch_openmp 0 torch_openmp)
  target_link_libraries(prudent_libtorch INTERFACE ${torch_openmp})
else()
  target_link_options(prudent_libtorch INTERFACE -fopenmp)
endif()
