# One target per native layer. A layer sees its own headers and those of the layers it links to, nothing else: each has an
# include folder that holds a single link to its sources, so a wrong include fails to compile.
# *_cuda.cu (device code: raw pointers and a stream, no torch headers) and *_cuda_host.cpp (its callers) belong to CUDA builds.
function(prudent_layer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  set(view ${CMAKE_BINARY_DIR}/layers/${name})
  file(MAKE_DIRECTORY ${view})
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/native/${name} ${view}/${name} SYMBOLIC)
  if(PRUDENT_CUDA)
    file(GLOB_RECURSE device_sources CONFIGURE_DEPENDS *_cuda.cu)
    list(APPEND ARG_SOURCES ${device_sources})
  else()
    list(FILTER ARG_SOURCES EXCLUDE REGEX "_cuda_host\\.cpp$")
  endif()
  if(NOT ARG_SOURCES) # a layer of headers alone
    file(WRITE ${CMAKE_BINARY_DIR}/layers/${name}_headers.cpp "")
    set(ARG_SOURCES ${CMAKE_BINARY_DIR}/layers/${name}_headers.cpp)
  endif()
  add_library(prudent_${name} STATIC ${ARG_SOURCES})
  target_include_directories(prudent_${name} PUBLIC ${view})
  target_link_libraries(prudent_${name} PUBLIC ${ARG_LINK} prudent_libtorch)
  prudent_own_code(prudent_${name})
  prudent_precompile(prudent_${name})
endfunction()

# Warnings and, where asked for, sanitizers: for prudent's own code, not for libtorch's headers.
function(prudent_own_code target)
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers>)
  if(PRUDENT_SANITIZE)
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${PRUDENT_SANITIZE} -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g1>)
    target_link_options(${target} PUBLIC -fsanitize=${PRUDENT_SANITIZE})
  endif()
endfunction()

# ATen's tensor header compiled once for all layers: without it a file takes twice as long. Set-up turns it on.
option(PRUDENT_PCH "Precompile <ATen/core/Tensor.h>" OFF)
function(prudent_precompile target)
  if(NOT PRUDENT_PCH)
    return()
  endif()
  if(target STREQUAL prudent_core)
    target_precompile_headers(prudent_core PRIVATE $<$<COMPILE_LANGUAGE:CXX>:<ATen/core/Tensor.h$<ANGLE-R>>)
  else()
    target_precompile_headers(${target} REUSE_FROM prudent_core)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU") # for ccache
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
  endif()
endfunction()

# CPU kernels are compiled once per instruction set, in namespace prudent::kernels::<isa>, and chosen at run time
# (native/kernels/common/dispatch.h). They see raw pointers only: an inline function of a header compiled here for AVX-512
# could be the copy that the linker keeps for everyone.
set(PRUDENT_ISA_baseline "")
set(PRUDENT_ISA_avx2 -mavx2 -mfma -mf16c)
set(PRUDENT_ISA_avx512 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx2 -mfma -mf16c -mprefer-vector-width=512)
set(PRUDENT_ISAS baseline)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND PRUDENT_ISAS avx2 avx512)
endif()
function(prudent_isa_kernels target)
  foreach(isa ${PRUDENT_ISAS})
    prudent_isa_objects(${target} ${isa} ${isa} ${ARGN})
  endforeach()
endfunction()

set(PRUDENT_OWN_INTRINSICS "")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU") # warns of its own intrinsics: gcc.gnu.org/PR105593
  set(PRUDENT_OWN_INTRINSICS -Wno-maybe-uninitialized -Wno-uninitialized)
endif()

# <op>_amx.cpp: AVX-512 vectors and AMX tiles, chosen by has_amx(). A compiler that does not know them builds without, and
# has_amx() is then false.
set(PRUDENT_ISA_amx ${PRUDENT_ISA_avx512} -mavx512bf16 -mamx-tile -mamx-bf16 ${PRUDENT_OWN_INTRINSICS})
# <op>_vnni.cpp: AVX-512 with products of 8-bit integers, chosen by has_vnni().
set(PRUDENT_ISA_vnni ${PRUDENT_ISA_avx512} -mavx512vnni ${PRUDENT_OWN_INTRINSICS})
include(CheckCXXCompilerFlag)
check_cxx_compiler_flag("-mavx512bf16 -mamx-tile -mamx-bf16" PRUDENT_COMPILER_KNOWS_amx)
check_cxx_compiler_flag("-mavx512vnni" PRUDENT_COMPILER_KNOWS_vnni)
set(PRUDENT_SPECIAL_ISAS amx vnni)
function(prudent_special_kernels target isa)
  if(PRUDENT_COMPILER_KNOWS_${isa})
    prudent_isa_objects(${target} ${isa} avx512 ${ARGN})
    prudent_tell_isa(${target} ${isa})
  endif()
endfunction()

# PRUDENT_AMX, PRUDENT_VNNI: there is code for it.
function(prudent_tell_isa target isa)
  string(TOUPPER ${isa} name)
  target_compile_definitions(${target} PRIVATE PRUDENT_${name}=1)
endfunction()

# Sources compiled into namespace `isa`, with vectors as wide as those of `vectors`.
function(prudent_isa_objects target isa vectors)
  if(NOT ARGN)
    return()
  endif()
  add_library(${target}_${isa} OBJECT ${ARGN})
  target_include_directories(${target}_${isa} PRIVATE $<TARGET_PROPERTY:${target},INTERFACE_INCLUDE_DIRECTORIES>)
  target_compile_definitions(${target}_${isa} PRIVATE PRUDENT_ISA=${isa} PRUDENT_ISA_${vectors}=1)
  prudent_own_code(${target}_${isa})
  target_compile_options(${target}_${isa} PRIVATE -O3 -fno-math-errno -fno-trapping-math ${PRUDENT_ISA_${isa}})
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_${isa}>)
endfunction()
