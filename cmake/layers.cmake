# One target per native layer. A layer sees its own headers and those of the layers it links to, nothing else: each has an
# include folder that holds a single link to its sources, so a wrong include fails to compile.
function(prudent_layer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  set(view ${CMAKE_BINARY_DIR}/layers/${name})
  file(MAKE_DIRECTORY ${view})
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/native/${name} ${view}/${name} SYMBOLIC)
  if(NOT ARG_SOURCES)  # headers only
    add_library(prudent_${name} INTERFACE)
    target_include_directories(prudent_${name} INTERFACE ${view})
    target_link_libraries(prudent_${name} INTERFACE ${ARG_LINK} prudent_libtorch)
    return()
  endif()
  add_library(prudent_${name} STATIC ${ARG_SOURCES})
  target_include_directories(prudent_${name} PUBLIC ${view})
  target_link_libraries(prudent_${name} PUBLIC ${ARG_LINK} prudent_libtorch)
  target_compile_options(prudent_${name} PRIVATE -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers)
endfunction()

# CPU kernels are compiled once per instruction set, in namespace prudent::kernels::<isa>, and chosen at run time
# (native/kernels/common/dispatch.h). They see raw pointers only: an inline function of a header compiled here for AVX-512
# could be the copy that the linker keeps for everyone.
set(PRUDENT_ISA_baseline "")
set(PRUDENT_ISA_avx2 -mavx2 -mfma -mf16c)
set(PRUDENT_ISA_avx512 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx2 -mfma -mf16c -mprefer-vector-width=512)
function(prudent_isa_kernels target)
  if(NOT ARGN)
    return()
  endif()
  foreach(isa baseline avx2 avx512)
    add_library(${target}_${isa} OBJECT ${ARGN})
    target_include_directories(${target}_${isa} PRIVATE $<TARGET_PROPERTY:${target},INTERFACE_INCLUDE_DIRECTORIES>)
    target_compile_definitions(${target}_${isa} PRIVATE PRUDENT_ISA=${isa} PRUDENT_ISA_${isa}=1)
    target_compile_options(${target}_${isa} PRIVATE -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast -Wall -Wextra ${PRUDENT_ISA_${isa}})
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_${isa}>)
  endforeach()
endfunction()
